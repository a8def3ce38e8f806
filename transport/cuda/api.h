/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those of CUDA's calls that are used, as we know them: nothing of CUDA is
 * needed to build this.
 *
 * Each call is one line of a list, in types that are named here.  From the
 * lists are made the table that is filled at run time (cuda.h), the test that
 * they are what a toolkit's headers say (check.c, where there is a toolkit),
 * and the prototypes of the tests' fake.  Calls whose form differed between
 * CUDA 11, 12 and 13 are not in them.
 */
#ifndef WFS_TRANSPORT_CUDA_API_H
#define WFS_TRANSPORT_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

/* Plain ones that have the size and the kind of CUDA's. */
typedef unsigned cu_error;  /* enum cudaError */
typedef unsigned cu_result; /* enum cudaError_enum: the driver's */
typedef unsigned cu_kind;   /* enum cudaMemcpyKind */
typedef unsigned cu_attr;   /* enum cudaDeviceAttr */
typedef void *cu_stream;    /* cudaStream_t */
typedef void *cu_event;	    /* cudaEvent_t */
typedef unsigned cu_mode;   /* enum cudaStreamCaptureMode */
typedef unsigned cu_query;  /* enum cudaDriverEntryPointQueryResult */
typedef unsigned cu_type;   /* enum CUmemAllocationHandleType_enum */
typedef unsigned cu_flags;  /* enum CUmemAllocationGranularity_flags_enum */
typedef uint64_t cu_alloc;  /* CUmemGenericAllocationHandle */
typedef uint64_t cu_devptr; /* CUdeviceptr */
typedef int cu_device;	    /* CUdevice */
typedef unsigned cu_about;  /* enum CUdevice_attribute_enum */
typedef unsigned cu_range;  /* enum CUmemRangeHandleType_enum */
typedef unsigned cu_target; /* enum cudaFlushGPUDirectRDMAWritesTarget */
typedef unsigned cu_scope;  /* enum cudaFlushGPUDirectRDMAWritesScope */
typedef void *cu_pool;	    /* cudaMemPool_t */
typedef unsigned cu_export; /* enum cudaMemAllocationHandleType */
typedef struct {
	char reserved[64];
} cu_mem_handle; /* cudaIpcMemHandle_t */
typedef struct {
	char reserved[64];
} cu_event_handle; /* cudaIpcEventHandle_t */
typedef struct {
	unsigned type;
	int device;
	void *on_device, *on_host;
	long newer[16]; /* what CUDA 13 has more, and some */
} cu_pointer;		/* struct cudaPointerAttributes */
typedef struct {
	unsigned type;
	int id;
} cu_location; /* CUmemLocation */
typedef struct {
	unsigned type, handle_types;
	cu_location location;
	void *win32;
	struct {
		unsigned char compression, rdma;
		unsigned short usage;
		unsigned char reserved[4];
	} flags;
} cu_prop; /* CUmemAllocationProp */
typedef struct {
	cu_location location;
	unsigned flags;
} cu_access; /* CUmemAccessDesc */
typedef struct {
	unsigned type, handle_types;
	cu_location location;
	void *win32;
	unsigned char newer[64];
} cu_pool_props; /* struct cudaMemPoolProps */
typedef struct {
	unsigned char reserved[64];
} cu_pool_ptr; /* struct cudaMemPoolPtrExportData */

/* Of libcudart. */
#define WFS_CUDART_CALLS(X)                                                    \
	X(cudaGetLastError, (void))                                            \
	X(cudaGetDeviceCount, (int *count))                                    \
	X(cudaSetDevice, (int device))                                         \
	X(cudaGetDevice, (int *device))                                        \
	X(cudaPointerGetAttributes, (cu_pointer * ret, const void *ptr))       \
	X(cudaDeviceGetByPCIBusId, (int *device, const char *id))              \
	X(cudaDeviceGetPCIBusId, (char *id, int len, int device))              \
	X(cudaDeviceGetAttribute, (int *value, cu_attr attr, int device))      \
	X(cudaDeviceFlushGPUDirectRDMAWrites,                                  \
	  (cu_target target, cu_scope scope))                                  \
	X(cudaRuntimeGetVersion, (int *version))                               \
	X(cudaDriverGetVersion, (int *version))                                \
	X(cudaMalloc, (void **ptr, size_t size))                               \
	X(cudaFree, (void *ptr))                                               \
	X(cudaHostAlloc, (void **ptr, size_t size, unsigned flags))            \
	X(cudaFreeHost, (void *ptr))                                           \
	X(cudaHostRegister, (void *ptr, size_t size, unsigned flags))          \
	X(cudaHostUnregister, (void *ptr))                                     \
	X(cudaMemcpyAsync, (void *dst, const void *src, size_t size,           \
			    cu_kind kind, cu_stream stream))                   \
	X(cudaMemcpy2DAsync,                                                   \
	  (void *dst, size_t dst_pitch, const void *src, size_t src_pitch,     \
	   size_t width, size_t height, cu_kind kind, cu_stream stream))       \
	X(cudaMemsetAsync,                                                     \
	  (void *ptr, int value, size_t size, cu_stream stream))               \
	X(cudaStreamCreateWithFlags, (cu_stream * stream, unsigned flags))     \
	X(cudaStreamCreateWithPriority,                                        \
	  (cu_stream * stream, unsigned flags, int priority))                  \
	X(cudaDeviceGetStreamPriorityRange, (int *least, int *greatest))       \
	X(cudaThreadExchangeStreamCaptureMode, (cu_mode * mode))               \
	X(cudaStreamDestroy, (cu_stream stream))                               \
	X(cudaStreamSynchronize, (cu_stream stream))                           \
	X(cudaEventCreateWithFlags, (cu_event * event, unsigned flags))        \
	X(cudaEventDestroy, (cu_event event))                                  \
	X(cudaEventRecord, (cu_event event, cu_stream stream))                 \
	X(cudaEventSynchronize, (cu_event event))                              \
	X(cudaEventQuery, (cu_event event))                                    \
	X(cudaIpcGetMemHandle, (cu_mem_handle * handle, void *ptr))            \
	X(cudaIpcOpenMemHandle,                                                \
	  (void **ptr, cu_mem_handle handle, unsigned flags))                  \
	X(cudaIpcCloseMemHandle, (void *ptr))                                  \
	X(cudaMemPoolCreate, (cu_pool * pool, const cu_pool_props *props))     \
	X(cudaMemPoolDestroy, (cu_pool pool))                                  \
	X(cudaMallocFromPoolAsync,                                             \
	  (void **ptr, size_t size, cu_pool pool, cu_stream stream))           \
	X(cudaMemPoolExportToShareableHandle,                                  \
	  (void *handle, cu_pool pool, cu_export type, unsigned flags))        \
	X(cudaMemPoolImportFromShareableHandle,                                \
	  (cu_pool * pool, void *handle, cu_export type, unsigned flags))      \
	X(cudaMemPoolExportPointer, (cu_pool_ptr * data, void *ptr))           \
	X(cudaMemPoolImportPointer,                                            \
	  (void **ptr, cu_pool pool, cu_pool_ptr *data))                       \
	X(cudaIpcGetEventHandle, (cu_event_handle * handle, cu_event event))   \
	X(cudaIpcOpenEventHandle, (cu_event * event, cu_event_handle handle))

/* Of libcudart from 12.5 on: how the driver's are found. */
#define WFS_CUDART_FIND(X)                                                     \
	X(cudaGetDriverEntryPointByVersion,                                    \
	  (const char *name, void **ret, unsigned version,                     \
	   unsigned long long flags, cu_query *result))

/* Of the driver.  Memory that a descriptor stands for. */
#define WFS_CUDRIVER_CALLS(X)                                                  \
	X(cuDeviceGetName, (char *name, int len, cu_device device))            \
	X(cuMemCreate, (cu_alloc * alloc, size_t size, const cu_prop *prop,    \
			unsigned long long flags))                             \
	X(cuMemRelease, (cu_alloc alloc))                                      \
	X(cuMemAddressReserve, (cu_devptr * ptr, size_t size, size_t align,    \
				cu_devptr at, unsigned long long flags))       \
	X(cuMemAddressFree, (cu_devptr ptr, size_t size))                      \
	X(cuMemMap, (cu_devptr ptr, size_t size, size_t offset,                \
		     cu_alloc alloc, unsigned long long flags))                \
	X(cuMemUnmap, (cu_devptr ptr, size_t size))                            \
	X(cuMemSetAccess,                                                      \
	  (cu_devptr ptr, size_t size, const cu_access *access, size_t count)) \
	X(cuMemExportToShareableHandle,                                        \
	  (void *handle, cu_alloc alloc, cu_type type,                         \
	   unsigned long long flags))                                          \
	X(cuMemImportFromShareableHandle,                                      \
	  (cu_alloc * alloc, void *handle, cu_type type))                      \
	X(cuMemGetAllocationGranularity,                                       \
	  (size_t * granularity, const cu_prop *prop, cu_flags option))

/* Of the driver, some from 11.7 on: what memory is, and it as a dma-buf. */
#define WFS_CUDRIVER_RANGE(X)                                                  \
	X(cuMemGetAddressRange,                                                \
	  (cu_devptr * base, size_t * size, cu_devptr ptr))                    \
	X(cuDeviceGetAttribute,                                                \
	  (int *value, cu_about about, cu_device device))                      \
	X(cuMemGetHandleForAddressRange,                                       \
	  (void *handle, cu_devptr ptr, size_t size, cu_range type,            \
	   unsigned long long flags))

/* Their numbers, which check.c holds against the headers. */
enum {
	WFS_CU_OK = 0,
	WFS_CU_INVALID_VALUE = 1,
	WFS_CU_NO_MEMORY = 2,
	WFS_CU_NOT_INITIALIZED = 3,
	WFS_CU_INSUFFICIENT_DRIVER = 35,
	WFS_CU_NO_DEVICE = 100,
	WFS_CU_INVALID_DEVICE = 101,
	WFS_CU_CONTEXT_UNINITIALIZED = 201,
	WFS_CU_MAP_FAILED = 205,
	WFS_CU_ALREADY_MAPPED = 208,
	WFS_CU_ECC = 214,
	WFS_CU_PEER_UNSUPPORTED = 217,
	WFS_CU_OS_ERROR = 304,
	WFS_CU_INVALID_HANDLE = 400,
	WFS_CU_NOT_READY = 600,
	WFS_CU_ILLEGAL_ADDRESS = 700,
	WFS_CU_TOO_MANY_PEERS = 711,
	WFS_CU_ALREADY_REGISTERED = 712,
	WFS_CU_NOT_REGISTERED = 713,
	WFS_CU_LAUNCH_FAILURE = 719,
	WFS_CU_NOT_PERMITTED = 800,
	WFS_CU_NOT_SUPPORTED = 801,
	WFS_CU_SYSTEM_NOT_READY = 802,
	WFS_CU_DRIVER_MISMATCH = 803,
	WFS_CU_COMPAT_UNSUPPORTED = 804,

	WFS_CU_HOST_TO_DEVICE = 1,
	WFS_CU_DEVICE_TO_HOST = 2,
	WFS_CU_STREAM_NON_BLOCKING = 1,
	WFS_CU_CAPTURE_RELAXED = 2,
	WFS_CU_POINTER_DEVICE = 2,  /* cudaMemoryTypeDevice */
	WFS_CU_POINTER_MANAGED = 3, /* cudaMemoryTypeManaged */
	WFS_CU_EVENT_NO_TIMING = 2,
	WFS_CU_EVENT_INTERPROCESS = 4,
	WFS_CU_LAZY_PEER_ACCESS = 1,
	WFS_CU_REGISTER_READ_ONLY = 8,
	WFS_CU_ATTR_MAX_PITCH = 11,
	WFS_CU_ATTR_REGISTER_READ_ONLY = 113,
	WFS_CU_ATTR_RDMA_FLUSHES = 117,
	WFS_CU_ATTR_RDMA_ORDERING = 118,
	WFS_CU_ABOUT_DMA_BUF = 124, /* … DMA_BUF_SUPPORTED, the driver's */
	WFS_CU_FLUSHED_BY_HOST = 1, /* of FLUSHES, a bit */
	WFS_CU_ORDERED_FOR_OWNER = 100, /* of ORDERING, at least */
	WFS_CU_FLUSH_DEVICE = 0,	/* … TargetCurrentDevice */
	WFS_CU_FLUSH_TO_OWNER = 100,
	WFS_CU_ON_DEVICE_COPY = 3, /* cudaMemcpyDeviceToDevice */
	WFS_CU_DMA_BUF_FD = 1,	   /* CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD */

	WFS_CU_PINNED = 1,     /* CU_MEM_ALLOCATION_TYPE_PINNED */
	WFS_CU_ON_DEVICE = 1,  /* CU_MEM_LOCATION_TYPE_DEVICE */
	WFS_CU_POSIX_FD = 1,   /* CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR */
	WFS_CU_READ_WRITE = 3, /* CU_MEM_ACCESS_FLAGS_PROT_READWRITE */
	WFS_CU_LEAST = 0,      /* CU_MEM_ALLOC_GRANULARITY_MINIMUM */
};

#endif
