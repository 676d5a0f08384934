// SPDX-License-Identifier: Apache-2.0
// One instance measured once. Private to bench/; on the runner's thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "bench/runner.h"
#include "core/backend.h"
#include "core/error.h"

namespace tare::bench {

struct TrialSetting {
  const Suite* suite = nullptr;
  std::string run;  // its id
  const RunOptions* options = nullptr;
};

/// What a trial leaves behind besides its record.
struct TrialExtras {
  std::map<std::string, std::string> protections;  // of the instance; empty when it never ran
  std::map<std::string, std::string> missing;      // metric → why it has no value
  std::vector<std::string> remarks;
};

/// The workload a planned trial runs: the experiment's own or its empty counterpart.
const Workload& workload_of(const Suite& suite, const PlannedTrial& planned);
/// The record of a planned trial before it has run: names and variant filled in.
TrialRecord blank_record(const TrialSetting& setting, const PlannedTrial& planned);
/// Makes `record` that of a failed trial: state, sentence, hint and one sample without a value.
void fail_record(const TrialSetting& setting, TrialRecord& record, const Error& error);

/// Runs one trial: settle gap, start, ready, stop, remove. A failure is a record. Nothing when `stop` was requested meanwhile: then the
/// instance is stopped and removed, and the trial does not count.
std::optional<TrialRecord> run_trial(const TrialSetting& setting, const PlannedTrial& planned, Backend& backend, TrialExtras& extras,
                                     const std::stop_token& stop);

}  // namespace tare::bench
