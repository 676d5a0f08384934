// SPDX-License-Identifier: Apache-2.0
// A host of our own for each test of native backends: state and run directory, launcher, control groups, an image with one program.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "container/cgroup.h"
#include "container/native_backend.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {

inline const char* name_of(Native kind) { return kind == Native::metal ? "metal" : "container"; }

/// Whether the running kernel is that version or later.
inline bool kernel_is_at_least(int major, int minor) {
  int have[2] = {};
  const std::string release = read_file("/proc/sys/kernel/osrelease");
  EXPECT_EQ(std::sscanf(release.c_str(), "%d.%d", &have[0], &have[1]), 2) << release;
  return std::pair(have[0], have[1]) >= std::pair(major, minor);
}

/// Remembers what was made through it: others on this host may have groups as well.
class RecordingGroups final : public ControlGroups {
 public:
  std::string layout() const override { return real_->layout(); }
  std::unique_ptr<ControlGroup> create(const std::string& id, const Limits& limits, const std::optional<DeviceList>& devices) override {
    const std::lock_guard lock(mutex_);
    made_.push_back(id);
    return real_->create(id, limits, devices);
  }
  std::unique_ptr<ControlGroup> adopt(const std::string& id, const Limits& limits) override { return real_->adopt(id, limits); }
  std::vector<std::string> ids() const override { return real_->ids(); }
  void remove_leftover(const std::string& id) override { real_->remove_leftover(id); }
  std::vector<std::string> left() const {
    std::vector<std::string> left;
    for (const std::string& id : real_->ids()) {
      if (std::find(made_.begin(), made_.end(), id) != made_.end()) left.push_back(id);
    }
    return left;
  }

 private:
  std::unique_ptr<ControlGroups> real_ = make_control_groups();
  std::mutex mutex_;
  std::vector<std::string> made_;
};

class NativeFixture {
 public:
  NativeFixture() {
    paths.state = directory.path() / "state";
    paths.run = directory.path() / "run";
    paths.libexec = TARE_BINARY_DIR "/libexec/tare";
    std::filesystem::create_directories(rootfs / "bin");
    std::filesystem::create_directories(rootfs / "data");
    std::filesystem::copy_file(paths.libexec / "test-workload", rootfs / "bin/w");
    parts = {paths, Launcher::start_private(paths), groups, std::make_shared<image::Store>(paths)};
  }

  Workload workload(std::vector<std::string> arguments) const {
    Workload workload;
    workload.name = "test";
    workload.image = "dir:" + rootfs.string();
    workload.command = {"/bin/w"};
    workload.command.insert(workload.command.end(), arguments.begin(), arguments.end());
    workload.start_timeout = std::chrono::seconds(20);
    return workload;
  }

  /// Runs it to its end and returns what it wrote to stdout.
  std::string output(Native kind, const Workload& workload) const {
    Timeline timeline;
    const auto instance = make_backend(kind, parts)->start(workload, timeline);
    const auto exit = instance->wait(Deadline::in(std::chrono::seconds(20)));
    EXPECT_TRUE(exit.has_value());
    return instance->log().text(Stream::out);
  }

  /// Ids of control groups that this test made and that are still there.
  std::vector<std::string> groups_left() const { return groups->left(); }

  TempDir directory;
  std::filesystem::path rootfs = directory.path() / "rootfs";
  Paths paths;
  std::shared_ptr<RecordingGroups> groups = std::make_shared<RecordingGroups>();
  NativeParts parts;
};

/// Waits, at most ten seconds, until `condition` holds.
template <typename Condition>
bool eventually(Condition condition) {
  for (const Deadline deadline = Deadline::in(std::chrono::seconds(10)); !deadline.passed(); ::usleep(2000)) {
    if (condition()) return true;
  }
  return condition();
}

}  // namespace tare::container
