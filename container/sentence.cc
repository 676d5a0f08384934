// SPDX-License-Identifier: Apache-2.0
#include "container/sentence.h"

#include <cerrno>
#include <string_view>

namespace tare::container {
namespace {

struct HintRow {
  std::string_view step;
  int error;
  std::string_view hint;
};

// The first row that fits; errno 0 fits any.
constexpr HintRow kHints[] = {
    {"mount overlay", ENODEV, "this kernel lacks overlayfs; load it with: modprobe overlay"},
    {"mount overlay", EINVAL, "the state directory must be on a file system that can hold an overlay's upper layer, such as ext4 or xfs"},
    {"mount overlay", ENOENT, "the image's root filesystem is gone; remove the image and make it again"},
    {"mount overlay with the ids of a user namespace", EINVAL,
     "overlayfs takes layers from idmapped mounts since Linux 5.19; the state directory must be on a file system such as ext4 or xfs"},
    {"mount", ELOOP, "the image has a symbolic link there; make it a directory"},
    {"mount", EISDIR, "a directory can lie over a directory only, and a file over a file"},
    {"mount", ENOTDIR, "a directory can lie over a directory only, and a file over a file"},
    {"execute", ENOENT, "the file or the interpreter it names is not in the image"},
    {"execute", EACCES, "make the file executable in the image"},
    {"execute", ENOEXEC, "the file is neither a program for this machine nor a script with a '#!' line"},
    {"execute", E2BIG, "shorten the command line or the environment"},
    {"working directory", ENOTDIR, "name a directory of the image"},
    {"enter control groups", ENODEV, "the control group is being removed"},
    {"resource limits", EPERM, "tare itself may not have more than that: raise its own limit, or ask for less"},
    {"user", EPERM, "tare itself may not become that user"},
    {"working directory", ENOENT, "name a directory of the image: this path leads out of it"},
    {"mount", EPERM,
     "with `userns: auto` the host's own /proc and /sys must be wholly visible: run tare outside a container that hides parts"},
    {"user namespace", EPERM, "run tare as root, outside a container that drops capabilities"},
    {"clone", ENOSPC, "a limit of /proc/sys/user/max_*_namespaces is reached"},
    {"clone", EAGAIN, "the limit of processes is reached; raise the pids limit or end some"},
    {"start", ECHILD, "give the workload more memory"},
    {"", EPERM, "run tare as root, outside a container that drops capabilities"},
    {"", ENOSPC, "free space in the state directory"},
    {"", ENOMEM, "free memory on this host or raise the memory limit"},
};

std::string hint_for(const Refused& refused) {
  for (const HintRow& row : kHints) {
    if ((row.step.empty() || row.step == refused.step) && row.error == refused.error) return std::string(row.hint);
  }
  return {};
}

}  // namespace

Error error_of(const Refused& refused, const std::string& who) {
  std::string action = who + ": " + refused.step;
  if (refused.step == "start" && refused.error == ECHILD) return Error(Code::failed, action + ": " + refused.detail, hint_for(refused));
  if (!refused.detail.empty()) action += " " + refused.detail;
  Code code = code_of_errno(refused.error);
  if (refused.step == "execute" && refused.error != ENOENT) code = Code::invalid;
  return Error(code, errno_text(action, refused.error), hint_for(refused));
}

}  // namespace tare::container
