import com.google.protobuf.ByteString;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.concurrent.TimeUnit;
import losswire.v1.CrossEntropy;
import losswire.v1.Dtype;
import losswire.v1.EvaluateRequest;
import losswire.v1.EvaluateResponse;
import losswire.v1.GradientSpec;
import losswire.v1.LossServiceGrpc;
import losswire.v1.LossSpec;
import losswire.v1.OutputSpec;
import losswire.v1.Reduction;
import losswire.v1.Tensor;

/** Evaluates a batch with its gradient: Evaluate [TARGET]. */
public final class Evaluate {
  public static void main(String[] args) {
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(args.length > 0 ? args[0] : "localhost:50051")
            .usePlaintext()
            .maxInboundMessageSize(Integer.MAX_VALUE) // gradients may exceed the default of 4 MB
            .build();
    try {
      EvaluateResponse response =
          LossServiceGrpc.newBlockingStub(channel).withDeadlineAfter(10, TimeUnit.SECONDS).evaluate(request());
      FloatBuffer gradient = floats(response.getGradient());
      System.out.println("loss " + floats(response.getLoss()).get(0));
      System.out.print("gradient");
      while (gradient.hasRemaining()) {
        System.out.print(" " + gradient.get());
      }
      System.out.println();
    } finally {
      channel.shutdownNow();
    }
  }

  private static EvaluateRequest request() {
    CrossEntropy crossEntropy = CrossEntropy.newBuilder().setLabelSmoothing(0.1).build();
    OutputSpec outputs = OutputSpec.newBuilder().setGradient(GradientSpec.getDefaultInstance()).build(); // set, though empty
    ByteBuffer input = buffer(6 * Float.BYTES);
    input.asFloatBuffer().put(new float[] {2f, 1f, 0.1f, 0.5f, 2.5f, 0.3f});
    ByteBuffer target = buffer(2 * Long.BYTES);
    target.asLongBuffer().put(new long[] {0, 1});
    return EvaluateRequest.newBuilder()
        .setSpec(LossSpec.newBuilder().setReduction(Reduction.REDUCTION_MEAN).setCrossEntropy(crossEntropy))
        .setOutputs(outputs)
        .setInput(tensor(Dtype.DTYPE_FLOAT32, List.of(2L, 3L), input))
        .setTarget(tensor(Dtype.DTYPE_INT64, List.of(2L), target))
        .build();
  }

  /** Elements travel little-endian; a Java buffer is big-endian by default. */
  private static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static Tensor tensor(Dtype dtype, List<Long> shape, ByteBuffer data) {
    return Tensor.newBuilder().setDtype(dtype).addAllShape(shape).setData(ByteString.copyFrom(data)).build();
  }

  private static FloatBuffer floats(Tensor tensor) {
    return tensor.getData().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
  }
}
