// Evaluates a batch with its gradient: evaluate [TARGET]
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <vector>

#include "losswire/v1/loss_service.grpc.pb.h"

namespace v1 = losswire::v1;

// Elements travel row-major and little-endian, as in the memory of most machines.
template <typename T>
void Fill(v1::Tensor* tensor, v1::Dtype dtype, std::vector<int64_t> shape, const std::vector<T>& elements) {
  tensor->set_dtype(dtype);
  tensor->mutable_shape()->Add(shape.begin(), shape.end());
  tensor->set_data(elements.data(), elements.size() * sizeof(T));
}

std::vector<float> Floats(const v1::Tensor& tensor) {
  std::vector<float> elements(tensor.data().size() / sizeof(float));
  std::memcpy(elements.data(), tensor.data().data(), tensor.data().size());
  return elements;
}

v1::EvaluateRequest Request() {
  v1::EvaluateRequest request;
  request.mutable_spec()->set_reduction(v1::REDUCTION_MEAN);
  request.mutable_spec()->mutable_cross_entropy()->set_label_smoothing(0.1);
  request.mutable_outputs()->mutable_gradient();  // set, though empty
  Fill<float>(request.mutable_input(), v1::DTYPE_FLOAT32, {2, 3}, {2.0f, 1.0f, 0.1f, 0.5f, 2.5f, 0.3f});
  Fill<int64_t>(request.mutable_target(), v1::DTYPE_INT64, {2}, {0, 1});
  return request;
}

int main(int argc, char** argv) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // answers with gradients may exceed the default of 4 MB
  auto channel = grpc::CreateCustomChannel(argc > 1 ? argv[1] : "localhost:50051", grpc::InsecureChannelCredentials(),
                                           arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));

  v1::EvaluateResponse response;
  const grpc::Status status = v1::LossService::NewStub(channel)->Evaluate(&context, Request(), &response);
  if (!status.ok()) {
    std::cerr << status.error_message() << "\n";
    return 1;
  }
  std::cout << "loss " << Floats(response.loss())[0] << "\ngradient";
  for (const float element : Floats(response.gradient())) std::cout << " " << element;
  std::cout << "\n";
}
