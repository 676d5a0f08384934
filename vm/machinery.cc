// SPDX-License-Identifier: Apache-2.0
#include "vm/machinery.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <optional>
#include <system_error>

#include "core/error.h"
#include "vm/host_clock.h"
#include "vm/probe_guard.h"

namespace tare::vm {
namespace fs = std::filesystem;

fs::path executed_emulator(const Paths& paths, const VmSettings& settings, const fs::path& emulator) {
  return settings.uri.empty() ? paths.guest() / emulator.filename() : emulator;
}

void link_emulator(const Paths& paths, const fs::path& link) {
  const fs::path target = paths.libexec / "tare-emulator";
  if (!fs::exists(target)) throw Error(Code::unavailable, "vm: " + target.string() + " is missing", "build and install all of tare");
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return;
  const fs::path fresh = link.string() + "." + std::to_string(::getpid());
  fs::create_symlink(target, fresh);
  fs::rename(fresh, link);
}

Machinery make_machinery(const Paths& paths, const VmSettings& settings) {
  const bool embedded = settings.uri.empty();
  const fs::path emulator = executed_emulator(paths, settings, settings.emulator);
  if (::geteuid() != 0) throw Error(Code::unsuited, "vm: tare is not root", "run it as root");
  if (!fs::exists(settings.emulator)) {
    throw Error(Code::unavailable, "vm: no QEMU at " + settings.emulator.string(), "apt-get install qemu-system-x86");
  }
  Machinery out;
  out.kernel = find_kernel(paths, settings.kernel);
  out.elf = elf_image(paths, out.kernel);
  if (settings.accelerator) {
    out.verdict = {*settings.accelerator, "the accelerator was chosen by configuration",
                   "set accelerator to auto in agent.yaml, where another is wanted", true};
  } else {
    SelfTest test;
    test.emulator = settings.emulator;
    test.kernel = out.elf;
    test.initramfs = initramfs(paths, out.kernel, Transport::mmio);
    test.device = settings.device;
    test.deadline = settings.self_test;
    out.verdict = choose_accelerator(paths, test);
  }
  if (out.verdict.accelerator == Accelerator::tcg) out.tsc_khz = tsc_khz();
  std::optional<ProbeGuard> guard;
  if (embedded) guard.emplace(paths);
  out.connection = Connection::open(paths, settings.uri, settings.confinement);
  if (embedded) link_emulator(paths, emulator);
  out.connection->learn_capabilities(emulator.string(), out.verdict.accelerator == Accelerator::kvm ? "kvm" : "qemu");
  out.connection->versions();  // asks every emulator of this host, once: the guard is there for that
  return out;
}

BootKernel kernel_of_host(const Paths& paths, const Machinery& with) {
  utsname host{};
  ::uname(&host);
  if (const auto files = kernel_named(paths, host.release)) {
    try {
      return {*files, elf_image(paths, *files)};
    } catch (const Error&) {  // NOLINT: compressed otherwise
    }
  }
  return {with.kernel, with.elf};
}

}  // namespace tare::vm
