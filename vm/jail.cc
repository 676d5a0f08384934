// SPDX-License-Identifier: Apache-2.0
#include "vm/jail.h"

#include "core/error.h"

namespace tare::vm {
namespace {

class Text {
 public:
  explicit Text(const VmPlan& plan) : text_(std::to_string(*plan.user)) { add("", plan.stage); }
  void add(const char* kind, const std::filesystem::path& path) {
    if (path.native().find(':') != std::string::npos) {
      throw Error(Code::unsuited, "vm: a confined QEMU cannot be given " + path.string() + ": its name has a ':'",
                  "use a state directory without one, or set vm.confinement to fast");
    }
    text_.append(":").append(kind).append(path.native());
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string jail_text(const VmPlan& plan) {
  Text text(plan);
  for (const auto* path : {&plan.kernel, &plan.initramfs, &plan.image.file}) text.add("r", *path);
  text.add("w", plan.scratch.file);
  if (plan.memory_file) text.add("w", plan.memory_file->file);
  for (const auto& socket : plan.shares) text.add("w", socket);
  if (plan.accelerator == Accelerator::kvm) text.add("d", plan.device);
  return text.take();
}

}  // namespace tare::vm
