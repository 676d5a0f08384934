// SPDX-License-Identifier: Apache-2.0
// One number with its unit, and the line of samples.csv that holds it (a contract: DESIGN.md, "Contracts").
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace tare::bench {

struct Sample {
  std::string run;
  int block = 0;        // 0 is warm-up; measured blocks count from 1
  int trial = 0;        // counts from 1 over the run, in the order of execution
  std::string backend;  // "metal", "container", "vm"
  std::string variant;  // "cold"; the empty counterpart differs in `workload`
  std::string workload;
  std::string experiment;
  std::string metric;           // "mark.ready", "usage.cpu", "probe.syscall"
  std::string unit;             // "s", "bytes", "1", "ns/op", …
  std::optional<double> value;  // empty when the trial failed
  std::string state = "ok";     // ok | suspect:<reason> | invalid:<cause> | failed:<code>
};

/// "run,block,trial,backend,variant,workload,experiment,metric,unit,value,state\n"
std::string csv_header();
/// One line with its newline; fields quoted as RFC 4180 says; value with all its digits, empty when absent.
std::string csv_line(const Sample& sample);
/// The inverse, for one line without newline. Throws Error(invalid).
Sample parse_csv_line(const std::string& line);
/// A whole samples.csv, header included. Throws Error(invalid) that names the line.
std::vector<Sample> parse_csv(const std::string& text);

}  // namespace tare::bench
