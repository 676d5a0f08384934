// SPDX-License-Identifier: Apache-2.0
// The stdin of a process of tare-launcher, as the agent feeds it: never more than the launcher has room for. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "container/protocol.h"
#include "core/streams.h"

namespace tare::container {

class NativeInput final : public Input {
 public:
  /// What sends a message to the launcher; it may throw when that is gone.
  using Send = std::function<void(const std::string& message)>;

  explicit NativeInput(std::string key) : key_(std::move(key)) {}
  /// From now on it goes through `send`; before, everything is dropped. `received` and `taken` as in Known.
  void begin(Send send, std::uint64_t received, std::uint64_t taken, bool open);
  void fed(const Fed& message);
  /// The process has ended.
  void end();

  std::size_t write(std::string_view bytes) override;
  void close() override;
  void resize(TerminalSize size) override;

 private:
  void send(const std::string& message);

  const std::string key_;
  std::mutex mutex_;
  Send send_;  // empty: what comes is dropped
  bool over_ = false;
  std::uint64_t sent_ = 0;
  std::uint64_t taken_ = 0;
};

}  // namespace tare::container
