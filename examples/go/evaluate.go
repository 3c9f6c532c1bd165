// Command evaluate evaluates a batch with its gradient: evaluate [TARGET]
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"

	losswirev1 "losswire/v1"
)

func main() {
	target := "localhost:50051"
	if len(os.Args) > 1 {
		target = os.Args[1]
	}
	connection, err := grpc.Dial(
		target,
		grpc.WithInsecure(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)), // gradients may exceed the default of 4 MB
	)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	response, err := losswirev1.NewLossServiceClient(connection).Evaluate(ctx, request())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("loss", floats(response.GetLoss())[0])
	fmt.Println("gradient", floats(response.GetGradient()))
}

func request() *losswirev1.EvaluateRequest {
	return &losswirev1.EvaluateRequest{
		Spec: &losswirev1.LossSpec{
			Reduction: losswirev1.Reduction_REDUCTION_MEAN,
			Loss: &losswirev1.LossSpec_CrossEntropy{
				CrossEntropy: &losswirev1.CrossEntropy{LabelSmoothing: 0.1},
			},
		},
		Outputs: &losswirev1.OutputSpec{Gradient: &losswirev1.GradientSpec{}}, // set, though empty
		Input:   tensor(losswirev1.Dtype_DTYPE_FLOAT32, []int64{2, 3}, []float32{2, 1, 0.1, 0.5, 2.5, 0.3}),
		Target:  tensor(losswirev1.Dtype_DTYPE_INT64, []int64{2}, []int64{0, 1}),
	}
}

// tensor writes elements as they travel: row-major and little-endian.
func tensor(dtype losswirev1.Dtype, shape []int64, elements interface{}) *losswirev1.Tensor {
	var data bytes.Buffer
	if err := binary.Write(&data, binary.LittleEndian, elements); err != nil {
		log.Fatal(err)
	}
	storage := &losswirev1.Tensor_Data{Data: data.Bytes()}
	return &losswirev1.Tensor{Dtype: dtype, Shape: shape, Storage: storage}
}

func floats(tensor *losswirev1.Tensor) []float32 {
	elements := make([]float32, len(tensor.GetData())/4)
	if err := binary.Read(bytes.NewReader(tensor.GetData()), binary.LittleEndian, elements); err != nil {
		log.Fatal(err)
	}
	return elements
}
