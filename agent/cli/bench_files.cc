// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/bench_files.h"

#include <fcntl.h>
#include <unistd.h>

#include "agent/cli/verbs.h"
#include "bench/sample.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::agent::cli {
namespace fs = std::filesystem;

void check_results_directory(const fs::path& results) {
  std::error_code error;
  fs::create_directories(results, error);
  const std::string hint = "give another directory with --results";
  if (error) throw Error(code_of_errno(error.value()), "results directory " + results.string() + ": " + error.message(), hint);
  try {
    const TempDir trial(results);
    write_file_atomic(trial.path() / "room", std::string(64 << 10, '\n'));
  } catch (const Error& e) {
    throw Error(e.code(), "results directory " + results.string() + " cannot be written: " + e.sentence(), hint);
  }
}

ResultFiles::ResultFiles(const fs::path& results, std::string run) : run_(std::move(run)), directory_(results / run_) {
  std::error_code error;
  fs::create_directories(directory_, error);
  try {
    samples_ = open_file(directory_ / "samples.csv", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
    write_all(samples_.get(), bench::csv_header(), (directory_ / "samples.csv").string());
  } catch (const Error& e) {
    lose(e.sentence());
  }
}

void ResultFiles::append_samples(const std::string& lines) {
  if (!intact_) return;
  try {
    write_all(samples_.get(), lines, (directory_ / "samples.csv").string());
    if (::fdatasync(samples_.get()) != 0) throw_errno("sync " + (directory_ / "samples.csv").string());
  } catch (const Error& e) {
    lose(e.sentence());
  }
}

void ResultFiles::write(const std::string& name, const std::string& content) {
  if (!intact_) return;
  try {
    write_file_atomic(directory_ / name, content);
  } catch (const Error& e) {
    lose(e.sentence());
  }
}

void ResultFiles::lose(const std::string& why) {
  intact_ = false;
  note("tare: " + why);
  note("  the run goes on and every sample is stored; `tare show " + run_ + " --csv` and `tare show " + run_ + " --json` give them back");
}

}  // namespace tare::agent::cli
