// SPDX-License-Identifier: Apache-2.0
// What waits for workloads that are not started cold. Filled by prepare() and, one for one, when an instance that took from it is removed:
// after what was measured, so that making the next one disturbs nothing. Each parked thing has an instance's id and directory with this
// agent as its owner, so that what a crash leaves is found and removed as an instance is.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "core/workload.h"

namespace tare {

/// Thread-safe. `Parked` is movable, removes itself when it goes, and has
///   bool usable() const                       false: it died while it waited
///   void when_gone(std::shared_ptr<void>)     what it is to hold until the instance that it becomes is removed
template <class Parked>
class Parking : public std::enable_shared_from_this<Parking<Parked>> {
 public:
  using Make = std::function<Parked()>;
  /// So many wait for each shape of workload. The shapes that were not asked for longest are given up.
  explicit Parking(std::size_t places) : places_(places) {}
  ~Parking() { close(); }
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  /// Makes all places of this shape when nothing waits, after any refill that is under way. Throws what `make` throws.
  void fill(const Workload& shape, const Make& make);
  /// Nothing when none waits. What died while it waited is dropped. When its resources go, the next one is made.
  std::optional<Parked> take(const Workload& shape);
  /// Removes all that waits, after any refill that is under way.
  void clear();
  /// clear() for good: `make` is not called any more.
  void close();

 private:
  static constexpr std::size_t kMostShapes = 8;
  struct Lot {
    Workload shape;
    Make make;
    std::deque<Parked> waiting;
  };
  Lot* find(const Workload& shape);
  Lot& find_or_add(const Workload& shape, const Make& make, std::list<Lot>& given_up);
  void refill(const Workload& shape);
  void refill_all(const std::stop_token& stop);
  void make_one(Lot& lot, std::unique_lock<std::mutex>& lock);

  const std::size_t places_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::list<Lot> lots_;  // the last one asked for first
  std::deque<Workload> due_;
  bool making_ = false;  // a lot is filled, outside the lock
  bool closed_ = false;
  std::jthread worker_;
};

template <class Parked>
typename Parking<Parked>::Lot* Parking<Parked>::find(const Workload& shape) {
  const auto found = std::find_if(lots_.begin(), lots_.end(), [&](const Lot& lot) { return lot.shape == shape; });
  return found == lots_.end() ? nullptr : &*found;
}

template <class Parked>
typename Parking<Parked>::Lot& Parking<Parked>::find_or_add(const Workload& shape, const Make& make, std::list<Lot>& given_up) {
  const auto found = std::find_if(lots_.begin(), lots_.end(), [&](const Lot& lot) { return lot.shape == shape; });
  if (found == lots_.end()) {
    lots_.push_front({shape, make, {}});
  } else {
    lots_.splice(lots_.begin(), lots_, found);
  }
  if (lots_.size() > kMostShapes) given_up.splice(given_up.end(), lots_, std::prev(lots_.end()));
  return lots_.front();
}

// Lots go only while none is filled.
template <class Parked>
void Parking<Parked>::fill(const Workload& shape, const Make& make) {
  std::list<Lot> given_up;  // removed without the lock
  std::deque<Parked> dead;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !making_ && due_.empty(); });
  Lot& lot = find_or_add(shape, make, given_up);
  while (!lot.waiting.empty() && !lot.waiting.front().usable()) {
    dead.push_back(std::move(lot.waiting.front()));
    lot.waiting.pop_front();
  }
  if (!lot.waiting.empty()) return;
  while (lot.waiting.size() < places_) make_one(lot, lock);
}

template <class Parked>
void Parking<Parked>::make_one(Lot& lot, std::unique_lock<std::mutex>& lock) {
  making_ = true;
  lock.unlock();
  std::optional<Parked> made;
  std::exception_ptr failure;
  try {
    made.emplace(lot.make());
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  making_ = false;
  changed_.notify_all();
  if (failure) std::rethrow_exception(failure);
  lot.waiting.push_back(std::move(*made));
}

template <class Parked>
std::optional<Parked> Parking<Parked>::take(const Workload& shape) {
  std::deque<Parked> dead;
  const std::lock_guard lock(mutex_);
  Lot* const lot = find(shape);
  if (lot == nullptr) return std::nullopt;
  while (!lot->waiting.empty()) {
    Parked parked = std::move(lot->waiting.front());
    lot->waiting.pop_front();
    if (parked.usable()) {
      const auto next = [weak = this->weak_from_this(), shape](void*) {
        if (const auto parking = weak.lock()) parking->refill(shape);
      };
      parked.when_gone(std::shared_ptr<void>(nullptr, next));
      return parked;
    }
    dead.push_back(std::move(parked));
  }
  return std::nullopt;
}

template <class Parked>
void Parking<Parked>::refill(const Workload& shape) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  due_.push_back(shape);
  if (!worker_.joinable()) worker_ = std::jthread([this](const std::stop_token& stop) { refill_all(stop); });
  changed_.notify_all();
}

template <class Parked>
void Parking<Parked>::refill_all(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [&] { return !due_.empty() && !making_; })) {
    Lot* const lot = find(due_.front());
    try {
      while (lot != nullptr && lot->waiting.size() < places_ && !stop.stop_requested()) make_one(*lot, lock);
    } catch (const std::exception&) {  // NOLINT: who finds none waiting is told by the next fill()
    }
    due_.pop_front();
    changed_.notify_all();
  }
}

template <class Parked>
void Parking<Parked>::clear() {
  std::list<Lot> given_up;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !making_ && due_.empty(); });
  given_up.swap(lots_);
}

template <class Parked>
void Parking<Parked>::close() {
  std::list<Lot> given_up;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  if (worker_.joinable()) {
    worker_.request_stop();
    worker_.join();
  }
  const std::lock_guard lock(mutex_);
  given_up.swap(lots_);
}

}  // namespace tare
