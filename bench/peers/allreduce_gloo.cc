// All-reduce sweep over Gloo's TCP transport, same rows as allreduce_mpi.c.
// Usage: allreduce_gloo RANK RANKS STORE_DIR BYTES...
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

using Context = std::shared_ptr<gloo::rendezvous::Context>;
using ReduceFunction = void (*)(void *, const void *, const void *, size_t);
using Clock = std::chrono::steady_clock;

template <typename T>
static void all_reduce(const Context &context, T *data, size_t count, ReduceFunction function) {
  gloo::AllreduceOptions options(context);
  options.setOutput(data, count);
  options.setReduceFunction(function);
  gloo::allreduce(options);
}

static bool sweep(const Context &context, int rank, int ranks, size_t bytes) {
  size_t count = bytes / 4;
  int iterations = bytes >= 4194304 ? 12 : bytes >= 262144 ? 60 : 400, warm = 3;
  std::vector<float> x(count);
  std::vector<double> times;
  for (int i = 0; i < iterations + warm; i++) {
    std::fill(x.begin(), x.end(), 1.0f);
    gloo::BarrierOptions barrier(context);
    gloo::barrier(barrier);
    auto start = Clock::now();
    all_reduce(context, x.data(), count, &gloo::sum<float>);
    double mine = std::chrono::duration<double>(Clock::now() - start).count();
    all_reduce(context, &mine, 1, &gloo::max<double>);
    if (i >= warm) times.push_back(mine);
  }
  if (std::count(x.begin(), x.end(), static_cast<float>(ranks)) != static_cast<long>(count)) {
    fprintf(stderr, "wrong sum\n");
    return false;
  }
  std::sort(times.begin(), times.end());
  if (rank == 0) {
    printf("gloo-tcp,%d,%zu,%d,%.2f,%.2f\n", ranks, bytes, iterations,
           times[iterations / 2] * 1e6, times[iterations * 99 / 100] * 1e6);
    fflush(stdout);
  }
  return true;
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: allreduce_gloo RANK RANKS STORE_DIR BYTES...\n");
    return 2;
  }
  int rank = atoi(argv[1]), ranks = atoi(argv[2]);
  gloo::transport::tcp::attr attr;
  attr.hostname = "127.0.0.1";
  auto device = gloo::transport::tcp::CreateDevice(attr);
  auto store = std::make_shared<gloo::rendezvous::FileStore>(argv[3]);
  auto context = std::make_shared<gloo::rendezvous::Context>(rank, ranks);
  context->connectFullMesh(*store, device);
  for (int arg = 4; arg < argc; arg++)
    if (!sweep(context, rank, ranks, strtoull(argv[arg], nullptr, 10))) return 1;
  return 0;
}
