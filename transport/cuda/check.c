/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds api.h against the headers of a toolkit, where there is one: a call that
 * has another form there, or a number that is another, breaks the build.
 * Nothing of this is in the program.
 */
#if __has_include(<cuda.h>) && __has_include(<cuda_runtime_api.h>)

#include <cuda.h>
#include <cuda_runtime_api.h>

/* The plain types first, under other names, for their sizes. */
#define cu_error	plain_error
#define cu_result	plain_result
#define cu_kind		plain_kind
#define cu_attr		plain_attr
#define cu_stream	plain_stream
#define cu_event	plain_event
#define cu_mode		plain_mode
#define cu_query	plain_query
#define cu_pointer	plain_pointer
#define cu_type		plain_type
#define cu_flags	plain_flags
#define cu_alloc	plain_alloc
#define cu_devptr	plain_devptr
#define cu_device	plain_device
#define cu_mem_handle	plain_mem_handle
#define cu_event_handle plain_event_handle
#define cu_location	plain_location
#define cu_prop		plain_prop
#define cu_access	plain_access
#define cu_pool		plain_pool
#define cu_export	plain_export
#define cu_pool_props	plain_pool_props
#define cu_pool_ptr	plain_pool_ptr
#define cu_about	plain_about
#define cu_range	plain_range
#define cu_target	plain_target
#define cu_scope	plain_scope
#include "transport/cuda/api.h"
#undef cu_error
#undef cu_result
#undef cu_kind
#undef cu_attr
#undef cu_stream
#undef cu_event
#undef cu_mode
#undef cu_query
#undef cu_pointer
#undef cu_type
#undef cu_flags
#undef cu_alloc
#undef cu_devptr
#undef cu_device
#undef cu_mem_handle
#undef cu_event_handle
#undef cu_location
#undef cu_prop
#undef cu_access
#undef cu_pool
#undef cu_export
#undef cu_pool_props
#undef cu_pool_ptr
#undef cu_about
#undef cu_range
#undef cu_target
#undef cu_scope

typedef cudaError_t cu_error;
typedef CUresult cu_result;
typedef enum cudaMemcpyKind cu_kind;
typedef enum cudaDeviceAttr cu_attr;
typedef cudaStream_t cu_stream;
typedef cudaEvent_t cu_event;
typedef enum cudaStreamCaptureMode cu_mode;
typedef enum cudaDriverEntryPointQueryResult cu_query;
typedef struct cudaPointerAttributes cu_pointer;
typedef CUmemAllocationHandleType cu_type;
typedef CUmemAllocationGranularity_flags cu_flags;
typedef CUmemGenericAllocationHandle cu_alloc;
typedef CUdeviceptr cu_devptr;
typedef CUdevice cu_device;
typedef cudaIpcMemHandle_t cu_mem_handle;
typedef cudaIpcEventHandle_t cu_event_handle;
typedef CUmemLocation cu_location;
typedef CUmemAllocationProp cu_prop;
typedef CUmemAccessDesc cu_access;
typedef cudaMemPool_t cu_pool;
typedef enum cudaMemAllocationHandleType cu_export;
typedef struct cudaMemPoolProps cu_pool_props;
typedef struct cudaMemPoolPtrExportData cu_pool_ptr;
typedef CUdevice_attribute cu_about;
typedef CUmemRangeHandleType cu_range;
typedef enum cudaFlushGPUDirectRDMAWritesTarget cu_target;
typedef enum cudaFlushGPUDirectRDMAWritesScope cu_scope;

#define SAME_SIZE(name)                                                        \
	_Static_assert(sizeof(cu_##name) == sizeof(plain_##name) &&            \
			       _Alignof(cu_##name) == _Alignof(plain_##name),  \
		       "cu_" #name " is of another size");
SAME_SIZE(error)
SAME_SIZE(result)
SAME_SIZE(kind)
SAME_SIZE(attr)
SAME_SIZE(stream)
SAME_SIZE(event)
SAME_SIZE(mode)
SAME_SIZE(query)
SAME_SIZE(type)
SAME_SIZE(flags)
SAME_SIZE(alloc)
SAME_SIZE(devptr)
SAME_SIZE(device)
SAME_SIZE(mem_handle)
SAME_SIZE(event_handle)
SAME_SIZE(location)
SAME_SIZE(prop)
SAME_SIZE(access)
SAME_SIZE(pool)
SAME_SIZE(export)
SAME_SIZE(pool_props)
SAME_SIZE(pool_ptr)
SAME_SIZE(about)
SAME_SIZE(range)
SAME_SIZE(target)
SAME_SIZE(scope)

_Static_assert(offsetof(cu_prop, location) == offsetof(plain_prop, location) &&
		       offsetof(cu_prop, allocFlags) ==
			       offsetof(plain_prop, flags) &&
		       offsetof(cu_access, flags) ==
			       offsetof(plain_access, flags) &&
		       offsetof(cu_pool_props, location) ==
			       offsetof(plain_pool_props, location),
	       "the driver's structures have another form");

/* It grew once: ours has room for more. */
_Static_assert(sizeof(cu_pointer) <= sizeof(plain_pointer) &&
		       offsetof(cu_pointer, device) ==
			       offsetof(plain_pointer, device) &&
		       offsetof(cu_pointer, hostPointer) ==
			       offsetof(plain_pointer, on_host),
	       "cudaPointerAttributes has another form");

#define SAME_CALL(name, params)                                                \
	_Static_assert(__builtin_types_compatible_p(                           \
			       __typeof__(name), __typeof__(cu_error params)), \
		       #name " has another form");
#define SAME_DRIVER_CALL(name, params)                                         \
	_Static_assert(                                                        \
		__builtin_types_compatible_p(__typeof__(name),                 \
					     __typeof__(cu_result params)),    \
		#name " has another form");
WFS_CUDART_CALLS(SAME_CALL)
WFS_CUDRIVER_CALLS(SAME_DRIVER_CALL)
WFS_CUDRIVER_RANGE(SAME_DRIVER_CALL)
/* What found the others is newer than some toolkits. */
#if CUDART_VERSION >= 12050
WFS_CUDART_FIND(SAME_CALL)
#endif

#define SAME(ours, theirs)                                                     \
	_Static_assert((int)(ours) == (int)(theirs), #theirs " is another");
SAME(WFS_CU_OK, cudaSuccess)
SAME(WFS_CU_INVALID_VALUE, cudaErrorInvalidValue)
SAME(WFS_CU_NO_MEMORY, cudaErrorMemoryAllocation)
SAME(WFS_CU_NOT_INITIALIZED, cudaErrorInitializationError)
SAME(WFS_CU_INSUFFICIENT_DRIVER, cudaErrorInsufficientDriver)
SAME(WFS_CU_NO_DEVICE, cudaErrorNoDevice)
SAME(WFS_CU_INVALID_DEVICE, cudaErrorInvalidDevice)
SAME(WFS_CU_CONTEXT_UNINITIALIZED, cudaErrorDeviceUninitialized)
SAME(WFS_CU_MAP_FAILED, cudaErrorMapBufferObjectFailed)
SAME(WFS_CU_ALREADY_MAPPED, cudaErrorAlreadyMapped)
SAME(WFS_CU_ECC, cudaErrorECCUncorrectable)
SAME(WFS_CU_PEER_UNSUPPORTED, cudaErrorPeerAccessUnsupported)
SAME(WFS_CU_OS_ERROR, cudaErrorOperatingSystem)
SAME(WFS_CU_INVALID_HANDLE, cudaErrorInvalidResourceHandle)
SAME(WFS_CU_NOT_READY, cudaErrorNotReady)
SAME(WFS_CU_ILLEGAL_ADDRESS, cudaErrorIllegalAddress)
SAME(WFS_CU_TOO_MANY_PEERS, cudaErrorTooManyPeers)
SAME(WFS_CU_ALREADY_REGISTERED, cudaErrorHostMemoryAlreadyRegistered)
SAME(WFS_CU_NOT_REGISTERED, cudaErrorHostMemoryNotRegistered)
SAME(WFS_CU_LAUNCH_FAILURE, cudaErrorLaunchFailure)
SAME(WFS_CU_NOT_PERMITTED, cudaErrorNotPermitted)
SAME(WFS_CU_NOT_SUPPORTED, cudaErrorNotSupported)
SAME(WFS_CU_SYSTEM_NOT_READY, cudaErrorSystemNotReady)
SAME(WFS_CU_DRIVER_MISMATCH, cudaErrorSystemDriverMismatch)
SAME(WFS_CU_COMPAT_UNSUPPORTED, cudaErrorCompatNotSupportedOnDevice)
SAME(WFS_CU_HOST_TO_DEVICE, cudaMemcpyHostToDevice)
SAME(WFS_CU_DEVICE_TO_HOST, cudaMemcpyDeviceToHost)
SAME(WFS_CU_STREAM_NON_BLOCKING, cudaStreamNonBlocking)
SAME(WFS_CU_CAPTURE_RELAXED, cudaStreamCaptureModeRelaxed)
SAME(WFS_CU_POINTER_DEVICE, cudaMemoryTypeDevice)
SAME(WFS_CU_POINTER_MANAGED, cudaMemoryTypeManaged)
SAME(WFS_CU_EVENT_NO_TIMING, cudaEventDisableTiming)
SAME(WFS_CU_EVENT_INTERPROCESS, cudaEventInterprocess)
SAME(WFS_CU_LAZY_PEER_ACCESS, cudaIpcMemLazyEnablePeerAccess)
SAME(WFS_CU_REGISTER_READ_ONLY, cudaHostRegisterReadOnly)
SAME(WFS_CU_ATTR_MAX_PITCH, cudaDevAttrMaxPitch)
SAME(WFS_CU_ATTR_REGISTER_READ_ONLY, cudaDevAttrHostRegisterReadOnlySupported)
SAME(WFS_CU_PINNED, CU_MEM_ALLOCATION_TYPE_PINNED)
SAME(WFS_CU_PINNED, cudaMemAllocationTypePinned)
SAME(WFS_CU_ON_DEVICE, cudaMemLocationTypeDevice)
SAME(WFS_CU_POSIX_FD, cudaMemHandleTypePosixFileDescriptor)
SAME(WFS_CU_ON_DEVICE, CU_MEM_LOCATION_TYPE_DEVICE)
SAME(WFS_CU_POSIX_FD, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
SAME(WFS_CU_READ_WRITE, CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
SAME(WFS_CU_ATTR_RDMA_FLUSHES, cudaDevAttrGPUDirectRDMAFlushWritesOptions)
SAME(WFS_CU_ATTR_RDMA_ORDERING, cudaDevAttrGPUDirectRDMAWritesOrdering)
SAME(WFS_CU_ABOUT_DMA_BUF, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED)
SAME(WFS_CU_FLUSHED_BY_HOST, cudaFlushGPUDirectRDMAWritesOptionHost)
SAME(WFS_CU_ORDERED_FOR_OWNER, cudaGPUDirectRDMAWritesOrderingOwner)
SAME(WFS_CU_FLUSH_DEVICE, cudaFlushGPUDirectRDMAWritesTargetCurrentDevice)
SAME(WFS_CU_FLUSH_TO_OWNER, cudaFlushGPUDirectRDMAWritesToOwner)
SAME(WFS_CU_ON_DEVICE_COPY, cudaMemcpyDeviceToDevice)
SAME(WFS_CU_DMA_BUF_FD, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD)
SAME(WFS_CU_LEAST, CU_MEM_ALLOC_GRANULARITY_MINIMUM)

#else
typedef int wfs_no_toolkit_here; /* a file of C has something in it */
#endif
