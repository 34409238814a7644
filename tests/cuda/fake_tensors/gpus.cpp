// Two GPUs in a PyTorch that has no CUDA: autograd asks for as much before it goes backward, though nothing is computed.
// The guard, which only remembers what the current GPU is, is that of PyTorch's own tests.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/FakeGuardImpl.h>

struct Hooks : at::CUDAHooksInterface {
  Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 2; }
};

using Guard = c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>;
using at::CUDAHooksRegistry, at::RegistererCUDAHooksRegistry;
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, Hooks)
