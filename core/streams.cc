// SPDX-License-Identifier: Apache-2.0
#include "core/streams.h"

#include <utility>

namespace tare {

std::uint64_t Input::watch(std::function<void()> callback) {
  const std::scoped_lock lock(watch_mutex_);
  watchers_[next_watcher_] = std::move(callback);
  return next_watcher_++;
}

void Input::unwatch(std::uint64_t watcher) {
  const std::scoped_lock lock(watch_mutex_);
  watchers_.erase(watcher);
}

void Input::tell_room() {
  const std::scoped_lock lock(watch_mutex_);
  for (const auto& [number, callback] : watchers_) callback();
}

}  // namespace tare
