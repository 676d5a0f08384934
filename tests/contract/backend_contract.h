// SPDX-License-Identifier: Apache-2.0
// What the files of the contract share: one backend of this host and one workload in it, with a census around each test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "agent/backends.h"
#include "tests/support/busybox_image.h"
#include "tests/support/census.h"

namespace tare::contract {

/// One set of backends for the whole program: libvirt opens once, the launcher starts once.
inline agent::BackendSet& backends() {
  static const auto set = [] {
    agent::Config config;
    config.paths = Paths::from_environment();
    return agent::make_backends(config);
  }();
  return *set;
}

inline const test::BusyboxImage& busybox() {
  static const test::BusyboxImage image;
  return image;
}

inline Deadline soon() { return Deadline::in(std::chrono::seconds(60)); }  // a VM under TCG takes seconds

struct Lane {
  std::string backend;
  Start start = Start::cold;
  Userns userns = Userns::host;
};
inline void PrintTo(const Lane& lane, std::ostream* out) { *out << lane.backend << " " << name(lane.start); }

class BackendContract : public testing::TestWithParam<Lane> {
 protected:
  void SetUp() override {
    for (Backend* candidate : backends().all()) {
      if (candidate->name() == GetParam().backend) backend_ = candidate;
    }
    ASSERT_NE(backend_, nullptr);
    const Probe probe = backend_->probe();
    ASSERT_TRUE(probe.able) << probe.reason << ": " << probe.remedy;
    busybox();  // made before the census: it is the suite's, not the instance's
    before_ = test::census(paths_);
  }
  void TearDown() override { expect_no_trace(); }
  /// What waits for the next start is the backend's, not an instance's.
  void expect_no_trace() {
    backend_->give_up_parked();
    EXPECT_EQ(test::settled_census(paths_, before_), before_);
  }

  Workload shell(const std::string& script) const {
    Workload workload;
    workload.name = "contract";
    workload.image = busybox().reference();
    workload.command = {"sh", "-c", script};
    workload.limits = {1.0, 128_MiB, 64};
    workload.start = GetParam().start;
    workload.userns = GetParam().userns;
    return workload;
  }
  Workload probe_image(std::vector<std::string> command) const {
    Workload workload = shell("");
    workload.image = "tare/probe";
    workload.command = std::move(command);
    return workload;
  }
  std::unique_ptr<Instance> start(const Workload& workload) {
    timeline_ = std::make_unique<Timeline>();
    backend_->prepare(workload);
    timeline_->mark(Mark::requested);
    auto instance = backend_->start(workload, *timeline_);
    EXPECT_EQ(instance->started_as(), workload.start);
    return instance;
  }
  // Starts, waits for the end and the last line.
  Exit run(const Workload& workload, std::string* out = nullptr, std::string* err = nullptr) {
    const auto instance = start(workload);
    const auto exit = instance->wait(soon());
    EXPECT_TRUE(exit.has_value());
    EXPECT_TRUE(instance->log().wait_closed(soon()));
    if (out != nullptr) *out = instance->log().text(Stream::out);
    if (err != nullptr) *err = instance->log().text(Stream::err);
    instance->remove();
    return exit.value_or(Exit{-1, false, false});
  }
  bool is_vm() const { return GetParam().backend == "vm"; }
  bool is_metal() const { return GetParam().backend == "metal"; }

  const Paths paths_ = Paths::from_environment();
  Backend* backend_ = nullptr;
  std::unique_ptr<Timeline> timeline_;  // outlives the instance
  test::Census before_;
};

}  // namespace tare::contract
