// SPDX-License-Identifier: Apache-2.0
// What goes into a process of an instance: its standard input, or the keyboard's side of its terminal. What comes out is a Log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string_view>

namespace tare {

/// In characters; 0 × 0: nobody said.
struct TerminalSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  bool operator==(const TerminalSize&) const = default;
};

/// Thread-safe. No call waits for the process.
class Input {
 public:
  virtual ~Input() = default;
  /// Takes as many bytes as there is room for and returns their number, 0 while the process does not read. What is written after close(),
  /// or when nobody can read it any more, is taken and dropped.
  virtual std::size_t write(std::string_view bytes) = 0;
  /// Nothing will follow: the process reads what was written and then the end. A terminal stays and types its end-of-file character.
  virtual void close() = 0;
  /// Of the terminal, whose processes get SIGWINCH; of anything else it is ignored.
  virtual void resize(TerminalSize size) = 0;

  /// `callback` is called, from any thread, when write() may take more than before; it only wakes somebody. unwatch() returns when none
  /// runs any more.
  std::uint64_t watch(std::function<void()> callback);
  void unwatch(std::uint64_t watcher);

 protected:
  void tell_room();

 private:
  std::mutex watch_mutex_;
  std::map<std::uint64_t, std::function<void()>> watchers_;
  std::uint64_t next_watcher_ = 1;
};

}  // namespace tare
