/* A native benchmark tool for tests: it reads the model, times a real loop over its bytes, and prints what
 * benchmark_model documents, or onnxruntime_perf_test where it is compiled with ORT. BREAKS says how it misbehaves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static unsigned char model[1 << 22];
static size_t size;
static volatile unsigned sink;

static double now_us(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1e6 + at.tv_nsec / 1e3;
}

static double infer_us(void) {
  double start = now_us();
  unsigned sum = 0;
  for (int round = 0; round < 40; round++)
    for (size_t at = 0; at < size; at++) sum = sum * 31 + model[at];
  sink = sum;
  return now_us() - start;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
  for (int at = 1; at < argc; at++)
    if (!strncmp(argv[at], name, strlen(name))) return argv[at] + strlen(name);
  return otherwise;
}

static double series[1 << 20];

static int measure(long runs, double min_s, double max_s) {
  int count = 0;
  double start = now_us();
  while (count < (1 << 20)) {
    double passed_s = (now_us() - start) / 1e6;
    if ((count >= runs && passed_s >= min_s) || (count > 0 && passed_s >= max_s)) break;
    series[count++] = infer_us();
  }
  return count;
}

static double mean(int count) {
  double sum = 0;
  for (int at = 0; at < count; at++) sum += series[at];
  return sum / count;
}

int main(int argc, char **argv) {
  double start = now_us();
#ifdef ORT
  const char *path = argv[argc - 1];
#else
  const char *path = option(argc, argv, "--graph=", "");
#endif
  FILE *file = fopen(path, "rb");
  if (!file) {
    fprintf(stderr, "ERROR: Failed to load model %s\n", path);
    return 1;
  }
  size = fread(model, 1, sizeof model, file);
  fclose(file);
  double load = now_us() - start, first = infer_us();
#if defined(BREAKS) && BREAKS == 1
  abort();
#elif defined(BREAKS) && BREAKS == 2
  sleep(600);
#elif defined(BREAKS) && BREAKS == 3
  printf("\x01\xff count=;;; avg=nan Inference timings in us: Init: -1\n");
  return 0;
#endif
#ifdef ORT
  double seconds = 1;
  for (int at = 1; at + 1 < argc; at++)
    if (!strcmp(argv[at], "-t")) seconds = atof(argv[at + 1]);
  int count = measure(1, seconds, seconds);
  double average = mean(count);
  qsort(series, count, sizeof *series, by_value);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("Session creation time cost: %.6f s\nFirst inference time cost: %d ms\n", load / 1e6, (int)(first / 1e3));
  printf("Total inference time cost: %g s\nTotal inference requests: %d\n", average * count / 1e6, count);
  printf("Average inference time cost total: %f ms\n", average / 1e3);
  printf("Peak working set size: %ld bytes\n", used.ru_maxrss * 1024L);
  printf("Min Latency: %g s\nMax Latency: %g s\n", series[0] / 1e6, series[count - 1] / 1e6);
  const int shares[] = {50, 90, 95, 99};
  for (int at = 0; at < 4; at++)
    printf("P%d Latency: %g s\n", shares[at], series[(count * shares[at] - 1) / 100] / 1e6);
#else
  int warm = measure(atol(option(argc, argv, "--warmup_runs=", "1")), atof(option(argc, argv, "--warmup_min_secs=", "0")), 10);
  double warmup = mean(warm);
  printf("STARTING!\nGraph: [%s]\n", path);
  printf("count=%d first=%d curr=%d min=%d max=%d avg=%g std=0\n", warm, (int)first, (int)series[warm - 1], (int)warmup,
         (int)warmup, warmup);
  int count = measure(atol(option(argc, argv, "--num_runs=", "50")), atof(option(argc, argv, "--min_secs=", "1")),
                      atof(option(argc, argv, "--max_secs=", "150")));
  double average = mean(count), last = series[count - 1];
  qsort(series, count, sizeof *series, by_value);
  printf("count=%d first=%d curr=%d min=%d max=%d avg=%g std=0 p5=%d median=%d p95=%d\n", count, (int)first, (int)last,
         (int)series[0], (int)series[count - 1], average, (int)series[count / 20], (int)series[count / 2],
         (int)series[count * 95 / 100]);
  printf("Inference timings in us: Init: %d, First inference: %d, Warmup (avg): %g, Inference (avg): %g\n", (int)load,
         (int)first, warmup, average);
  printf("Memory footprint delta from the start of the tool (MB): init=0.5 overall=1.25\n");
#endif
  return 0;
}
