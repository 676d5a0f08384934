// SPDX-License-Identifier: Apache-2.0
// Guests that do not boot: clones of one that was frozen when its workload was ready.
#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "core/instance_dir.h"
#include "vm/guest.h"
#include "vm/plan.h"
#include "vm/vm_instance.h"

namespace tare::vm {

/// A guest that was frozen. Its directory is an instance's with this agent as its owner, so that what a crash leaves is removed as an
/// instance is. What its clones do not change of its memory they share.
struct Frozen {
  /// Its directory, with an empty file for its memory.
  explicit Frozen(const Paths& paths);
  InstanceDir directory;
  Guest::Past past = {};
  std::filesystem::path memory() const { return directory.path() / "memory"; }
  std::filesystem::path state() const { return directory.path() / "state"; }
  std::filesystem::path disk() const { return directory.path() / "disk.img"; }
};

/// A clone that waits, stopped; removed when it goes.
struct ParkedGuest {
  std::unique_ptr<Timeline> timeline;  // of its making
  std::unique_ptr<VmInstance> instance;
  bool usable() const { return instance->waits(); }
  void when_gone(std::shared_ptr<void> after) { instance->when_gone(std::move(after)); }
};

/// The guests that were frozen, by the workload that they run. Thread-safe. Those that were not asked for longest are given up.
class FrozenGuests {
 public:
  using Make = std::function<std::shared_ptr<const Frozen>()>;
  /// Null when there is none.
  std::shared_ptr<const Frozen> find(const Workload& shape);
  /// Makes it when there is none; one at a time. Throws what `make` throws.
  std::shared_ptr<const Frozen> find_or_make(const Workload& shape, const Make& make);
  /// Clones that run keep theirs.
  void clear();

 private:
  struct Entry {
    Workload shape;
    std::shared_ptr<const Frozen> frozen;
  };
  std::mutex making_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the last one asked for first
};

}  // namespace tare::vm
