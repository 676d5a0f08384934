// SPDX-License-Identifier: Apache-2.0
// Which CPUs of the host the pinned virtual CPUs of this process' guests have, so that the next guest takes others. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tare::vm {

class CpuClaims {
 public:
  /// `choose` gets how many virtual CPUs each CPU has already, by its number, and returns those that it takes, "3" for one each.
  /// They are given back when what is returned dies.
  std::shared_ptr<void> claim(const std::function<std::vector<std::string>(const std::vector<unsigned>&)>& choose) {
    const std::shared_ptr<Table> table = table_;
    const std::lock_guard lock(table->mutex);
    std::vector<unsigned> taken;
    for (const std::string& cpu : choose(table->busy)) taken.push_back(static_cast<unsigned>(std::stoul(cpu)));
    for (const unsigned cpu : taken) {
      if (cpu >= table->busy.size()) table->busy.resize(cpu + 1);
      ++table->busy[cpu];
    }
    return {static_cast<void*>(table.get()), [table, taken](void*) {
              const std::lock_guard again(table->mutex);
              for (const unsigned cpu : taken) --table->busy[cpu];
            }};
  }

 private:
  struct Table {
    std::mutex mutex;
    std::vector<unsigned> busy;
  };
  const std::shared_ptr<Table> table_ = std::make_shared<Table>();
};

}  // namespace tare::vm
