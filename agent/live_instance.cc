// SPDX-License-Identifier: Apache-2.0
#include "agent/live_instance.h"

#include <chrono>
#include <utility>

#include "core/error.h"

namespace tare::agent {
namespace {

double unix_now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

std::string sentence_of(const Exit& exit, const Workload& workload) {
  if (exit.oom) return "was killed for memory" + (workload.limits.memory ? ": limit " + text_of(*workload.limits.memory) : "");
  return exit.signaled ? "was killed by " + text_of(exit) : "";
}

LiveInstance::LiveInstance(StartInstance start)
    : start_(std::move(start)), attached_(start_.attached), name_(start_.name), created_at_(unix_now()) {
  timeline_.mark(Mark::requested);
}

LiveInstance::LiveInstance(StartInstance start, double created_at, std::optional<Ending> ending)
    : start_(std::move(start)), attached_(start_.attached), name_(start_.name), created_at_(created_at), ending_(std::move(ending)) {}

void LiveInstance::hold(std::unique_ptr<Instance> instance) {
  instance_ = std::move(instance);
  if (name_.empty()) name_ = instance_->id();
}

std::optional<Ending> LiveInstance::ending() const {
  const std::scoped_lock lock(mutex_);
  return ending_;
}

void LiveInstance::note_end() {
  if (ending()) return;
  Ending ending;
  try {
    ending.exit = instance_->wait(Deadline::in(std::chrono::seconds(10)));
    if (ending.exit) ending.sentence = sentence_of(*ending.exit, start_.workload);
  } catch (const Error& e) {
    ending.sentence = e.sentence();
  }
  ending.at = unix_now();
  {
    const std::scoped_lock lock(mutex_);
    if (ending_) return;
    ending_ = std::move(ending);
  }
  tell();
}

void LiveInstance::while_present(const std::function<void()>& work) {
  const std::scoped_lock lock(removal_mutex_);
  if (!removed()) work();
}

void LiveInstance::remove() {
  const std::scoped_lock lock(removal_mutex_);
  try {
    instance_->remove();
  } catch (...) {
    leftover_ = true;
    tell();
    throw;
  }
  note_end();  // of one that ran until now
  tell();
}

void LiveInstance::tell() {
  const std::scoped_lock lock(watch_mutex_);
  for (const auto& [number, callback] : watchers_) callback();
}

std::uint64_t LiveInstance::watch(std::function<void()> callback) {
  const std::scoped_lock lock(watch_mutex_);
  watchers_[next_watcher_] = std::move(callback);
  return next_watcher_++;
}

void LiveInstance::unwatch(std::uint64_t watcher) {
  const std::scoped_lock lock(watch_mutex_);
  watchers_.erase(watcher);
}

}  // namespace tare::agent
