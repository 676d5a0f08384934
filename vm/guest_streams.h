// SPDX-License-Identifier: Apache-2.0
// What one process of a guest reads and writes, seen from the host: its log and its input, each with the protocol's window, so that a
// process that is not read waits and one that does not read holds up nobody. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "core/log.h"
#include "core/streams.h"
#include "guest/protocol.h"
#include "vm/channel.h"
#include "vm/kept_output.h"

namespace tare::vm {

class GuestStreams final : private Input {
 public:
  /// What was said until a guest was frozen, which its clones have behind them.
  struct Past {
    std::uint64_t received = 0;  // bytes of output
    std::uint64_t told = 0;      // of these, what the guest knows to be read
    std::uint64_t sent = 0;      // bytes of input
    std::uint64_t taken = 0;
    std::vector<LogPiece> output;  // as far as the log still has it
  };

  explicit GuestStreams(bool has_input);
  /// The process is `number` of the guest behind `channel`, which outlives end().
  void begin(Channel& channel, std::uint16_t number);
  /// begin() of a clone's: its log begins with its template's.
  void begin(Channel& channel, std::uint16_t number, const Past& past);
  Past past();
  /// The output goes to disk too from now on, with what has come so far.
  void keep(std::unique_ptr<KeptOutput> kept);
  /// Of an agent that died `kept` is left, and its log is ours. Before begin().
  void restore(std::unique_ptr<KeptOutput> kept);

  Log& log() { return log_; }
  const Log& log() const { return log_; }
  /// From disk; null where nothing is kept.
  std::unique_ptr<LogReader> kept_log(std::optional<std::uint64_t> lines) const;
  /// Null without stdin and terminal.
  Input* input() { return has_input_ ? this : nullptr; }

  /// What the guest says, on the channel's thread. Throw Error(failed) where it does not keep to the protocol: what hostile bytes can make
  /// the host hold is bounded by the windows.
  void output(const guest::Output& message, Instant arrived);
  void input_taken(const guest::InputTaken& message);
  void attached(const guest::Attached& message, Instant arrived);
  /// The process has ended, or its guest: nothing more comes, and what is written goes nowhere.
  void end();

 private:
  std::size_t write(std::string_view bytes) override;
  void close() override;
  void resize(TerminalSize size) override;
  template <class Message>
  void post(const Message& message);
  void acknowledge();
  void store(Stream stream, std::string_view bytes, Instant at, std::uint64_t received);

  const bool has_input_;
  Log log_;
  mutable std::mutex storing_;        // held while a piece goes to log and disk
  std::unique_ptr<KeptOutput> kept_;  // under it
  std::mutex mutex_;
  Channel* channel_ = nullptr;  // this and what follows under mutex_; null before begin() and after end()
  std::uint16_t number_ = 0;
  std::uint64_t received_ = 0;  // bytes of output
  std::uint64_t told_ = 0;      // of these, what the guest knows to be read
  std::uint64_t sent_ = 0;      // bytes of input
  std::uint64_t taken_ = 0;
  bool reads_ = true;  // the guest takes input
};

}  // namespace tare::vm
