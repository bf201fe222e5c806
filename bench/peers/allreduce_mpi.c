// All-reduce sweep over MPI: one CSV row per message size.
// Row: peer,ranks,bytes,iterations,median_us,p99_us  (slowest rank, float32 sum, in place)
// Usage: allreduce_mpi PEER BYTES...
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void give_up(const char *why) {
  fprintf(stderr, "%s\n", why);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void sweep(const char *peer, int rank, int ranks, size_t bytes) {
  size_t count = bytes / 4;
  int iterations = bytes >= 4194304 ? 12 : bytes >= 262144 ? 60 : 400, warm = 3;
  float *x = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  double *times = malloc(sizeof(double) * iterations);
  if (!x || !times) give_up("out of memory");
  for (int i = 0; i < iterations + warm; i++) {
    for (size_t k = 0; k < count; k++) x[k] = 1.0f;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    MPI_Allreduce(MPI_IN_PLACE, x, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    double mine = MPI_Wtime() - start, slowest;
    MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (i >= warm) times[i - warm] = slowest;
  }
  for (size_t k = 0; k < count; k++)
    if (x[k] != (float)ranks) give_up("wrong sum");
  qsort(times, iterations, sizeof(double), by_value);
  if (rank == 0) {
    printf("%s,%d,%zu,%d,%.2f,%.2f\n", peer, ranks, bytes, iterations,
           times[iterations / 2] * 1e6, times[iterations * 99 / 100] * 1e6);
    fflush(stdout);
  }
  free(x);
  free(times);
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc < 3) give_up("usage: allreduce_mpi PEER BYTES...");
  for (int arg = 2; arg < argc; arg++) sweep(argv[1], rank, ranks, strtoull(argv[arg], NULL, 10));
  MPI_Finalize();
  return 0;
}
