// SPDX-License-Identifier: Apache-2.0
// A further process that has done all it does before anybody sees it.
#pragma once

#include "core/backend.h"
#include "core/error.h"

namespace tare::fakes {

class FakeExec final : public Exec {
 public:
  explicit FakeExec(const ExecResult& result) : exit_(result.exit) {
    if (!result.out.empty()) log_.append(Stream::out, result.out, Instant::now());
    if (!result.err.empty()) log_.append(Stream::err, result.err, Instant::now());
    log_.close();
  }
  const Log& log() const override { return log_; }
  Input* input() override { return nullptr; }
  void signal(int) override { throw Error(Code::conflict, "it has ended already"); }
  std::optional<Exit> wait(Deadline) override { return exit_; }

 private:
  Log log_;
  const Exit exit_;
};

}  // namespace tare::fakes
