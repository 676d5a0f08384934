// SPDX-License-Identifier: Apache-2.0
// The vm backend against real libvirt, QEMU and a stock kernel, with one program in the root filesystem.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "container/cgroup.h"
#include "core/error.h"
#include "core/files.h"
#include "tests/support/vm_host.h"
#include "vm/guest_kernel.h"
#include "vm/vm_backend.h"

namespace tare::vm {

namespace fs = std::filesystem;
using test::emulator_of;
using namespace std::chrono_literals;

class Vm : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes control groups and network interfaces";
    paths_ = test::vm_paths();
    try {
      settings_.kernel = find_kernel(Paths::from_environment(), {}).vmlinuz.parent_path();
    } catch (const Error& error) {
      FAIL() << error.what();  // ./dev test has fetched one
    }
    make_rootfs();
    groups_ = container::make_control_groups();
    backend_ = make_backend({paths_, groups_, std::make_shared<image::Store>(paths_), settings_});
    const Probe probe = backend_->probe();
    ASSERT_TRUE(probe.able) << probe.reason;
  }

  void make_rootfs() {
    rootfs_ = paths_.state / "rootfs";
    const fs::path program = rootfs_ / "bin" / "program";
    const FileLock lock = FileLock::wait(paths_.state / "rootfs.lock");
    const fs::path built = fs::path(TARE_BINARY_DIR) / "bin" / "vm-test-program";
    fs::create_directories(program.parent_path());
    if (fs::exists(program) && fs::last_write_time(program) == fs::last_write_time(built)) return;
    fs::copy_file(built, program, fs::copy_options::overwrite_existing);
    fs::last_write_time(program, fs::last_write_time(built));
  }

  Workload workload(std::vector<std::string> arguments) const {
    Workload out;
    out.name = "test";
    out.image = "dir:" + rootfs_.string();
    out.command = {"/bin/program"};
    out.command.insert(out.command.end(), arguments.begin(), arguments.end());
    return out;
  }

  std::unique_ptr<Instance> start(const Workload& what) {
    backend_->prepare(what);
    timeline_.mark(Mark::requested);
    return backend_->start(what, timeline_);
  }
  std::unique_ptr<Instance> start_program(std::vector<std::string> arguments) { return start(workload(std::move(arguments))); }

  // What an instance may leave behind: its directory, its control groups, its interface, its QEMU.
  bool trace_of(const std::string& id) const {
    if (emulator_of(id) >= 0) return true;
    for (const std::string& known : groups_->ids()) {
      if (known == id) return true;
    }
    for (const auto& entry : fs::directory_iterator("/sys/class/net")) {
      if (entry.path().filename().string().find(id.substr(1, 8)) != std::string::npos) return true;
    }
    return fs::exists(paths_.instances() / id);
  }

  static std::string shown(Instance& instance, const std::string& file) {
    return instance.exec({"/bin/program", "show", file}, Deadline::in(10s)).out;
  }

  Paths paths_;
  VmSettings settings_;
  fs::path rootfs_;
  std::shared_ptr<ControlGroups> groups_;
  std::unique_ptr<Backend> backend_;
  Timeline timeline_;
};

}  // namespace tare::vm
