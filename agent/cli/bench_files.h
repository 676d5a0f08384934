// SPDX-License-Identifier: Apache-2.0
// results/<run-id>/: samples.csv, result.json, report.md, as the run goes on. A directory that cannot be written is found before the run;
// one that fills up in mid-run costs the files, not the run.
#pragma once

#include <filesystem>
#include <string>

#include "core/fd.h"

namespace tare::agent::cli {

/// Throws Error naming the directory when results cannot be written there: wrong rights, a file in the way, a full disk.
void check_results_directory(const std::filesystem::path& results);

class ResultFiles {
 public:
  /// Makes `results`/`run` and samples.csv with its header.
  ResultFiles(const std::filesystem::path& results, std::string run);
  /// Lines of samples.csv, synced to the disk when this returns.
  void append_samples(const std::string& lines);
  void write(const std::string& name, const std::string& content);
  const std::filesystem::path& directory() const { return directory_; }
  /// False after a write failed; what failed was said on stderr, once.
  bool intact() const { return intact_; }

 private:
  void lose(const std::string& why);
  std::string run_;
  std::filesystem::path directory_;
  Fd samples_;
  bool intact_ = true;
};

}  // namespace tare::agent::cli
