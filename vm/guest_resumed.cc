// SPDX-License-Identifier: Apache-2.0
// Guests that were not started here: clones of one that was frozen, and those whose agent has died.
#include <csignal>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/error.h"
#include "vm/guest.h"

namespace tare::vm {
namespace {

std::int64_t realtime() { return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

// ---- clones

Guest::Past Guest::freeze(Deadline deadline, const std::function<void()>& stop, const std::function<void()>& go) {
  channel_->send(guest::Freeze{}, 0, deadline);
  Past past;
  while (!try_freeze(deadline, stop, past)) go();
  return past;
}

// A ping that was answered: the guest has read all that was sent. What is sent after it may be lost in the machine's buffers.
bool Guest::try_freeze(Deadline deadline, const std::function<void()>& stop, Past& past) {
  std::unique_lock lock(mutex_);
  const int before = clock_.exchanges();
  ping();
  const std::uint32_t pinged = channel_->sent();
  if (!wait_until(lock, deadline, [&] { return failure_ || ended_ || exit_ || clock_.exchanges() > before; })) {
    throw Error(Code::timeout, who_ + ": the guest did not come to rest in time", "raise start_timeout, or use `start: cold`");
  }
  if (failure_) throw *failure_;
  if (exit_ || ended_) throw Error(Code::unsuited, who_ + ": its workload ended before it could be frozen", "use `start: cold`");
  lock.unlock();
  stop();
  const auto at_rest = channel_->settle();
  if (!at_rest || at_rest->sent != pinged) return false;
  past = {*at_rest, streams_.past()};
  return true;
}

void Guest::resume(const std::string& channel, const Past& past, const std::string& mac) {
  connect(channel, past.position);
  queue_settings(mac);
  const std::string seed = random_bytes(32);
  guest::Identity identity;
  identity.realtime = realtime();
  identity.seed = seed;
  channel_->post(identity);
}

void Guest::await_identified(const Past& past, Deadline deadline) {
  streams_.begin(*channel_, 0, past.streams);
  channel_->listen();
  await_told(deadline);
}

void Guest::resume(Timeline& timeline) {
  timeline_ = &timeline;
  {
    const std::lock_guard lock(mutex_);
    identified_ = false;
  }
  guest::Clock clock;
  clock.realtime = realtime();
  channel_->post(clock);
}

void Guest::await_told(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!wait_until(lock, deadline, [this] { return failure_ || ended_ || identified_; })) {
    throw Error(Code::timeout, who_ + ": the clone did not come to itself in time" + watch_.excuse(),
                "raise start_timeout, or use `start: cold`");
  }
  if (failure_) throw *failure_;
  if (!identified_) throw Error(Code::failed, who_ + ": the clone ended before it came to itself" + watch_.excuse());
}

// ---- another agent's

void Guest::attach(const std::string& channel, std::unique_ptr<KeptOutput> kept) {
  attaching_ = true;
  ping_sent_ = Instant::now();
  connect(channel, Attach{work_.token, kept->received()});
  streams_.restore(std::move(kept));
  streams_.begin(*channel_, 0);
  channel_->listen();
}

bool Guest::await_attached(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const bool answered = wait_until(lock, deadline, [this] { return failure_ || ended_ || !attaching_; });
  if (failure_) throw *failure_;
  return answered;
}

void Guest::over(const std::optional<KeptExit>& ended, std::unique_ptr<KeptOutput> kept) {
  streams_.restore(std::move(kept));
  streams_.end();
  watch_.exiting();
  const std::lock_guard lock(mutex_);
  if (ended) {
    exit_ = ended->exit;
  } else {
    failure_.emplace(Code::failed, who_ + ": the virtual machine ended while there was no agent" + watch_.excuse());
  }
  ended_ = true;
  timeline().mark(Mark::exited, ended ? ended->at : Instant::now());
}

void Guest::leave() {
  std::vector<std::uint16_t> numbers;
  {
    const std::lock_guard lock(mutex_);
    left_ = true;
    for (const auto& [number, session] : sessions_) numbers.push_back(number);
  }
  if (!channel_) return;
  guest::Signal message;
  message.number = SIGKILL;
  for (const std::uint16_t number : numbers) channel_->post(message, number);
  end();
}

void Guest::require_attached(guest::Type type) {
  const std::lock_guard lock(mutex_);
  if (attaching_ && type != guest::Type::attached) throw Error(Code::failed, "the guest spoke before it said where it stands");
}

void Guest::on_attached(const guest::Attached& attached, Instant arrived) {
  streams_.attached(attached, arrived);
  const std::lock_guard lock(mutex_);
  if (!std::exchange(attaching_, false)) throw Error(Code::failed, "the guest answered to a token that it was not shown");
  clock_.add(ping_sent_, attached.at, arrived);
  if (work_.asks_facts) channel_->post(guest::FactsRequest{});
  changed_.notify_all();
  ping();
}

}  // namespace tare::vm
