// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/progress.h"

#include <unistd.h>

#include <algorithm>

#include "agent/cli/verbs.h"
#include "bench/statistics.h"
#include "core/units.h"

namespace tare::agent::cli {
namespace {

void put(const std::string& text) { [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size()); }

}  // namespace

void Progress::add_backend(const std::string& name, int planned, bool emulated) {
  Line line;
  line.name = name;
  line.planned = planned;
  line.emulated = emulated;
  lines_.push_back(std::move(line));
}

Progress::Line* Progress::find(const std::string& backend) {
  const auto found = std::find_if(lines_.begin(), lines_.end(), [&](const Line& line) { return line.name == backend; });
  return found == lines_.end() ? nullptr : &*found;
}

void Progress::trial_started(const std::string& backend, const std::string& experiment) {
  for (Line& line : lines_) line.now.clear();
  if (Line* line = find(backend)) line->now = experiment;
  draw();
}

void Progress::trial_finished(const std::string& backend, bool measured, bool good, std::optional<double> start_seconds) {
  Line* line = find(backend);
  if (line == nullptr) return;
  ++line->done;
  line->failed += good ? 0 : 1;
  if (measured && good && start_seconds) line->starts.push_back(*start_seconds);
  draw();
  if (live_ || quiet_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool due = !line->printed || line->done == line->planned || now - *line->printed >= std::chrono::seconds(5);
  if (!due) return;
  line->printed = now;
  put(text(*line) + "\n");
}

std::string Progress::text(const Line& line) const {
  std::string out = line.name + std::string(line.name.size() < 9 ? 9 - line.name.size() : 0, ' ') + " ";
  out += std::to_string(line.done) + "/" + std::to_string(line.planned);
  const bool bad = line.failed > 0;
  const std::string mark = bad ? "✗ " + std::to_string(line.failed) + " failed" : line.done > 0 ? "✓" : "·";
  out += colour_ ? std::string(bad ? " \033[31m" : " \033[32m") + mark + "\033[0m" : " " + mark;
  if (!line.starts.empty()) out += " start " + text_of_seconds(bench::statistics::median(line.starts));
  if (line.emulated) out += " (emulated)";
  if (!line.now.empty()) out += "  … " + line.now;
  return out;
}

void Progress::erase() {
  if (drawn_ > 0) put("\033[" + std::to_string(drawn_) + "A\r\033[J");
  drawn_ = 0;
}

void Progress::draw() {
  if (!live_ || quiet_) return;
  std::string all;
  if (drawn_ > 0) all = "\033[" + std::to_string(drawn_) + "A\r\033[J";
  for (const Line& line : lines_) all += text(line) + "\n";
  drawn_ = static_cast<int>(lines_.size());
  put(all);  // in one write: no flicker
}

void Progress::say(const std::string& message) {
  erase();
  note(message);
  draw();
}

void Progress::end() {
  for (Line& line : lines_) line.now.clear();
  draw();
  drawn_ = 0;
}

}  // namespace tare::agent::cli
