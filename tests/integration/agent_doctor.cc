// SPDX-License-Identifier: Apache-2.0
// `tare doctor` with the real backends: what it finds about this host, whatever that is, has a remedy where it is not ok.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <map>

#include "core/files.h"
#include "core/process.h"

namespace tare {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

class Doctor : public testing::Test {
 protected:
  // The host's own state, so that the self-test of KVM is not booted again; a run directory of its own, so that no running agent is asked.
  Output doctor(const std::vector<std::string>& arguments = {}) const {
    std::vector<std::string> argv = {"env", "TARE_RUN_DIR=" + dir_.path().string(), TARE_BINARY_DIR "/bin/tare", "doctor"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run_tool(argv, Deadline::in(std::chrono::seconds(150)));
  }
  TempDir dir_;
};

TEST_F(Doctor, NamesTheRemedyOfEveryFindingAndExitsAsTheBackendsCan) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const Output output = doctor({"--json"});
  const json::value found = json::parse(output.out);
  std::map<std::string, std::string> verdicts;
  for (const json::value& check : found.at("checks").as_array()) {
    const std::string name(check.at("name").as_string());
    verdicts[name] = check.at("verdict").as_string();
    EXPECT_FALSE(check.at("sentence").as_string().empty()) << name;
    EXPECT_TRUE(verdicts[name] == "ok" || !check.at("remedy").as_string().empty()) << name << ": " << check.at("sentence");
  }
  for (const char* name : {"root", "namespaces", "overlay", "tun", "bridge", "disk", "controllers", "qemu", "kernel", "kvm_device"}) {
    EXPECT_TRUE(verdicts.contains(name)) << name;
  }
  EXPECT_EQ(verdicts["kvm_device"] == "warn", ::access("/dev/kvm", F_OK) != 0);
  bool all_able = true;
  for (const json::value& backend : found.at("backends").as_array()) {
    const std::string name(backend.at("name").as_string());
    const bool able = backend.at("able").as_bool();
    const bool emulated = backend.at("emulated").as_bool();
    EXPECT_EQ(verdicts[name], able ? (emulated || !backend.at("reason").as_string().empty() ? "warn" : "ok") : "fail") << name;
    all_able = all_able && able;
  }
  EXPECT_EQ(verdicts["metal"], "ok");  // we are root, and tests need it anyway
  EXPECT_EQ(verdicts["container"], "ok");
  EXPECT_EQ(found.at("fit").as_bool(), all_able);
  EXPECT_EQ(output.exit.code, all_able ? 0 : 3) << output.err;
}

TEST_F(Doctor, WritesTheRemedyBelowEachFinding) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string text = doctor().out;
  std::size_t findings = 0;
  std::size_t remedies = 0;
  for (const char* sign : {"! warn  ", "✗ fail  "}) {
    for (std::size_t at = 0; (at = text.find(sign, at)) != std::string::npos; ++at) ++findings;
  }
  for (std::size_t at = 0; (at = text.find("          mend: ", at)) != std::string::npos; ++at) ++remedies;
  EXPECT_EQ(remedies, findings) << text;
  EXPECT_THAT(text, HasSubstr("✓ ok    tare runs as root"));
}

}  // namespace
}  // namespace tare
