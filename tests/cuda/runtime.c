/* The part of CUDA's runtime, driver, cuDNN and TensorRT that ONNX Runtime calls while it opens a graph, without a GPU:
 * memory is the host's, streams and events are addresses, the device describes itself as an H100 (compute capability
 * 9.0). Nothing computes: a kernel that is launched does nothing. prepare.py builds it, and gives every other function
 * the answer "success". STAND_IN_CAPABILITY (90) and STAND_IN_CUDNN (91300) in the environment change what device and
 * cuDNN say of themselves, STAND_IN_MEMORY how many MiB the device gives at once (1024).
 * Offsets are those of cudaDeviceProp in CUDA 13's driver_types.h. */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, CUDA_VERSION = 13000, PROPERTIES = 1008 };
enum { WARP = 32, THREADS = 1024, PROCESSORS = 132, SHARED = 233472, SHARED_BLOCK = 49152, SHARED_OPT_IN = 232448 };
/* Of enum cudaDeviceAttr. */
enum { ATTRIBUTE_PROCESSORS = 16, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76, ATTRIBUTE_SHARED = 81, ATTRIBUTE_SHARED_OPT_IN = 97 };

static int told(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}
#define CAPABILITY told("STAND_IN_CAPABILITY", 90)

static int allocate(void **pointer, size_t bytes) {
    *pointer = bytes >> 20 >= (size_t)told("STAND_IN_MEMORY", 1024) ? NULL : calloc(1, bytes + 256);
    return *pointer ? SUCCESS : OUT_OF_MEMORY;
}

#ifdef CUDART
int cudaMalloc(void **pointer, size_t bytes) { return allocate(pointer, bytes); }
int cudaMallocHost(void **pointer, size_t bytes) { return allocate(pointer, bytes); }
int cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) { return allocate(pointer, bytes); }
int cudaMallocAsync(void **pointer, size_t bytes, void *stream) { return allocate(pointer, bytes); }
int cudaMallocFromPoolAsync(void **pointer, size_t bytes, void *pool, void *stream) { return allocate(pointer, bytes); }
int cudaFree(void *pointer) { free(pointer); return SUCCESS; }
int cudaFreeHost(void *pointer) { free(pointer); return SUCCESS; }
int cudaFreeAsync(void *pointer, void *stream) { free(pointer); return SUCCESS; }
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) { memcpy(to, from, bytes); return SUCCESS; }
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) {
    memcpy(to, from, bytes);
    return SUCCESS;
}
int cudaMemset(void *to, int value, size_t bytes) { memset(to, value, bytes); return SUCCESS; }
int cudaMemsetAsync(void *to, int value, size_t bytes, void *stream) { memset(to, value, bytes); return SUCCESS; }
int cudaMemGetInfo(size_t *available, size_t *total) { *available = *total = (size_t)80 << 30; return SUCCESS; }

int cudaGetDeviceCount(int *count) { *count = 1; return SUCCESS; }
int cudaGetDevice(int *device) { *device = 0; return SUCCESS; }
int cudaRuntimeGetVersion(int *version) { *version = CUDA_VERSION; return SUCCESS; }
int cudaDriverGetVersion(int *version) { *version = CUDA_VERSION; return SUCCESS; }
const char *cudaGetErrorString(int error) { return error == OUT_OF_MEMORY ? "out of memory" : "a stand-in computes nothing"; }
const char *cudaGetErrorName(int error) { return "stand-in"; }

static void put(char *properties, size_t offset, int value) { memcpy(properties + offset, &value, sizeof value); }
static void put_size(char *properties, size_t offset, size_t value) { memcpy(properties + offset, &value, sizeof value); }

int cudaGetDeviceProperties(char *properties, int device) {
    memset(properties, 0, PROPERTIES);
    strcpy(properties, "stand-in for NVIDIA H100");
    put_size(properties, 288, (size_t)80 << 30); /* totalGlobalMem */
    put_size(properties, 296, SHARED_BLOCK);
    put(properties, 304, 65536); /* regsPerBlock */
    put(properties, 308, WARP);
    put(properties, 320, THREADS); /* maxThreadsPerBlock, maxThreadsDim, maxGridSize */
    put(properties, 324, THREADS), put(properties, 328, THREADS), put(properties, 332, 64);
    put(properties, 336, 2147483647), put(properties, 340, 65535), put(properties, 344, 65535);
    put(properties, 360, CAPABILITY / 10), put(properties, 364, CAPABILITY % 10); /* major, minor */
    put(properties, 384, PROCESSORS);
    put(properties, 604, 2048); /* maxThreadsPerMultiProcessor */
    put_size(properties, 624, SHARED);
    put(properties, 632, 65536); /* regsPerMultiprocessor */
    put_size(properties, 672, SHARED_OPT_IN);
    return SUCCESS;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == ATTRIBUTE_MAJOR           ? CAPABILITY / 10
             : attribute == ATTRIBUTE_MINOR         ? CAPABILITY % 10
             : attribute == ATTRIBUTE_PROCESSORS    ? PROCESSORS
             : attribute == ATTRIBUTE_SHARED        ? SHARED
             : attribute == ATTRIBUTE_SHARED_OPT_IN ? SHARED_OPT_IN
                                                    : 0;
    return SUCCESS;
}

static int make(void **handle) { return allocate(handle, 8); }
int cudaStreamCreate(void **stream) { return make(stream); }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return make(stream); }
int cudaEventCreate(void **event) { return make(event); }
int cudaEventCreateWithFlags(void **event, unsigned flags) { return make(event); }
int cudaStreamEndCapture(void *stream, void **graph) { return make(graph); }
int cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) { return make(executable); }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return SUCCESS; }
long *__cudaRegisterFatBinary(void *binary) { static long handle[8]; return handle; }
#endif

#ifdef CUDA
int cuDriverGetVersion(int *version) { *version = CUDA_VERSION; return SUCCESS; }
int cuInit(unsigned flags) { return SUCCESS; }
int cuDeviceGet(int *device, int number) { *device = number; return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == ATTRIBUTE_MAJOR ? CAPABILITY / 10 : attribute == ATTRIBUTE_MINOR ? CAPABILITY % 10 : 0;
    return SUCCESS;
}
#endif

#ifdef CUDNN
size_t cudnnGetVersion(void) { return told("STAND_IN_CUDNN", 91300); }
const char *cudnnGetErrorString(int status) { return "a stand-in computes nothing"; }
int cudnnCreate(void **handle) { return allocate(handle, 8); }
#endif

#ifdef CUBLAS
int cublasCreate_v2(void **handle) { return allocate(handle, 8); }
#endif

#ifdef NVINFER
/* An object of any class: every method of it, and of what it points to, returns 0. */
static long nothing(void) { return 0; }
#define TEN nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
#define HUNDRED TEN, TEN, TEN, TEN, TEN, TEN, TEN, TEN, TEN, TEN
static long (*methods[])(void) = {HUNDRED, HUNDRED, HUNDRED};
static struct object { void *methods; void *implementation; } object = {methods, &object};

int getInferLibVersion(void) { return 101600; }
void *getPluginRegistry(void) { return &object; }
void *createInferBuilder_INTERNAL(void *logger, int version) { return &object; }
void *createInferRuntime_INTERNAL(void *logger, int version) { return &object; }
#endif

#ifdef CUBLASLT
int cublasLtCreate(void **handle) { return allocate(handle, 8); }
#endif
