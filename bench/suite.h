// SPDX-License-Identifier: Apache-2.0
// A suite: workloads × backends × experiments, and how often. YAML text → these structs → validated; after load_suite() nothing sees YAML.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/workload.h"

namespace tare::bench {

/// What stands side by side in a suite: a backend, or one of its starts by name: "container", "container:zygote".
struct Lane {
  std::string backend;
  std::optional<Start> start;  // instead of the workload's own
};
Lane lane_of(std::string_view text);
/// `workload` as that lane runs it.
Workload in_lane(Workload workload, const Lane& lane);

struct Experiment {
  enum class Measure {
    start,  // marks from requested to removed, usage at ready
    probe,  // the workload is run to its end and prints Google Benchmark's JSON: every benchmark in it is a metric
  };
  std::string name;
  Measure measure = Measure::start;
  std::string workload;                                             // a key of Suite::workloads
  std::optional<std::string> empty;                                 // its empty counterpart: what the backend itself weighs (the tare)
  int trials = 10;                                                  // measured blocks
  int warmup = 1;                                                   // blocks that are run, kept and not counted
  std::chrono::nanoseconds timeout = std::chrono::seconds(60);      // of one trial
  std::chrono::nanoseconds settle = std::chrono::milliseconds(20);  // idle gap before each trial
};

struct Suite {
  std::string name;
  std::string description;
  std::string text;                                                  // the YAML as read
  std::string digest;                                                // "sha256:…" of text
  std::optional<std::uint64_t> seed;                                 // absent: drawn for each run and recorded
  std::vector<std::string> backends = {"metal", "container", "vm"};  // lanes: see Lane
  std::map<std::string, Workload> workloads;
  std::vector<Experiment> experiments;
};

std::string_view name(Experiment::Measure measure) noexcept;  // "start", "probe"

/// One workload by itself, as its map in a suite or the same in JSON. Throws Error(invalid) "workload:1: unknown key 'imag' (did you mean
/// 'image'?)"; `source` is only for messages.
Workload load_workload(const std::string& name, const std::string& text, std::string_view source);

/// Throws Error(invalid) "quickstart.yaml:12: unknown key 'trails' (did you mean 'trials'?)". `file_name` is only for messages.
Suite load_suite(std::string text, std::string_view file_name);

}  // namespace tare::bench
