// SPDX-License-Identifier: Apache-2.0
// What `tare bench` shows on stderr while a run goes on: one line a backend. Drawn only when an event arrives, which is between two trials,
// never by a timer.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tare::agent::cli {

class Progress {
 public:
  /// `live`: redraw in place; else plain lines, at most one per backend in five seconds.
  Progress(bool live, bool colour, bool quiet) : live_(live), colour_(colour), quiet_(quiet) {}

  void add_backend(const std::string& name, int planned, bool emulated);
  void trial_started(const std::string& backend, const std::string& experiment);
  /// `start_seconds`: from request to ready (or executed), where the trial measured it.
  void trial_finished(const std::string& backend, bool measured, bool good, std::optional<double> start_seconds);
  /// A message above the lines.
  void say(const std::string& text);
  /// Leaves the lines as they are and goes below them.
  void end();

 private:
  struct Line {
    std::string name;
    int planned = 0;
    int done = 0;
    int failed = 0;
    bool emulated = false;
    std::string now;  // the experiment whose trial is running
    std::vector<double> starts;
    std::optional<std::chrono::steady_clock::time_point> printed;
  };
  Line* find(const std::string& backend);
  std::string text(const Line& line) const;
  void draw();
  void erase();

  const bool live_;
  const bool colour_;
  const bool quiet_;
  std::vector<Line> lines_;
  int drawn_ = 0;  // lines on the terminal now
};

}  // namespace tare::agent::cli
