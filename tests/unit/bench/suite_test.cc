// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "core/error.h"

namespace tare::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kGood = R"(name: quickstart
description: starts and micro-benchmarks
backends: [metal, vm]
seed: 7
workloads:
  noop:  {image: tare/probe, command: [probe, noop], ready: exit, userns: auto, start: zygote, vm: {profile: tuned}, user: "www:33", umask: 027, ulimits: {nofile: "1024:4096", core: 0, memlock: unlimited}, limits: {cpus: 1.5, memory: 256MiB, pids: 64}}
  serve:
    image: tare/probe
    command: [probe, serve, --port=8080]
    environment: {A: 1, B: two words}
    working_directory: /srv
    hostname: web
    ports: [8080]
    ready: {http: {port: 8080, path: /healthz}}
    security: none
    mounts: [{type: volume, source: db, target: /data}, {type: tmpfs, target: /tmp, size: 1MiB}]
    read_only_root: true
    host_namespaces: [ipc, uts]
    devices: [/dev/fuse]
    start_timeout: 30s
    stop_grace: 500ms
experiments:
  - {name: start, measure: start, workload: serve, empty: noop, trials: 12, warmup: 2, timeout: 45s, settle: 5ms}
  - {name: micro, measure: probe, workload: noop}
)";

TEST(Suite, ALaneIsABackendOrOneOfItsStarts) {
  const std::string text = kGood;
  const std::string lanes = "backends: [metal, container, container:pooled, 'container:zygote']";
  const Suite suite = load_suite(std::string(text).replace(text.find("backends: [metal, vm]"), 21, lanes), "q.yaml");
  EXPECT_THAT(suite.backends, ElementsAre("metal", "container", "container:pooled", "container:zygote"));
  EXPECT_EQ(lane_of("container").backend, "container");
  EXPECT_FALSE(lane_of("container").start);
  EXPECT_EQ(lane_of("container:zygote").backend, "container");
  EXPECT_EQ(lane_of("container:zygote").start, Start::zygote);
  EXPECT_EQ(lane_of("container:warm").backend, "container:warm") << "which no backend is called";
  const Workload& noop = suite.workloads.at("noop");
  EXPECT_EQ(in_lane(noop, lane_of("container:pooled")).start, Start::pooled);
  EXPECT_EQ(in_lane(noop, lane_of("container")).start, Start::zygote);
}

TEST(Suite, BecomesPlainStructs) {
  const Suite suite = load_suite(kGood, "q.yaml");
  EXPECT_EQ(suite.name, "quickstart");
  EXPECT_EQ(suite.seed, 7U);
  EXPECT_THAT(suite.backends, ElementsAre("metal", "vm"));
  EXPECT_EQ(suite.text, kGood);
  EXPECT_EQ(suite.digest.size(), 7 + 64U);
  const Workload& serve = suite.workloads.at("serve");
  EXPECT_THAT(serve.command, ElementsAre("probe", "serve", "--port=8080"));
  EXPECT_THAT(serve.environment, ElementsAre("A=1", "B=two words"));
  EXPECT_EQ(serve.network, Network::link) << "a port needs a link";
  EXPECT_EQ(serve.ready.kind, Ready::Kind::http);
  EXPECT_EQ(serve.ready.path, "/healthz");
  EXPECT_EQ(serve.security, Security::none);
  EXPECT_EQ(serve.start, Start::cold);
  EXPECT_FALSE(serve.vm_profile) << "the agent's";
  ASSERT_EQ(serve.mounts.size(), 2U);
  EXPECT_EQ(serve.mounts[0], (Mount{Mount::Type::volume, "db", "/data", false, {}}));
  EXPECT_EQ(serve.mounts[1], (Mount{Mount::Type::tmpfs, "", "/tmp", false, 1_MiB}));
  EXPECT_TRUE(serve.read_only_root);
  EXPECT_THAT(serve.host_namespaces, ElementsAre(Namespace::ipc, Namespace::uts));
  EXPECT_EQ(serve.userns, Userns::host);
  EXPECT_THAT(serve.devices, ElementsAre("/dev/fuse"));
  EXPECT_EQ(serve.start_timeout, seconds(30));
  EXPECT_EQ(serve.stop_grace, milliseconds(500));
  const Workload& noop = suite.workloads.at("noop");
  EXPECT_EQ(noop.start, Start::zygote);
  EXPECT_EQ(noop.vm_profile, VmProfile::tuned);
  EXPECT_EQ(noop.network, Network::none);
  EXPECT_EQ(noop.userns, Userns::automatic);
  EXPECT_EQ(noop.limits, (Limits{1.5, 256_MiB, 64}));
  EXPECT_EQ(noop.user, "www:33");
  EXPECT_EQ(noop.umask, 027U);
  EXPECT_THAT(noop.ulimits, ElementsAre(Ulimit{"nofile", 1024, 4096}, Ulimit{"core", 0, 0}, Ulimit{"memlock", kNoLimit, kNoLimit}));
  const Experiment& start = suite.experiments.at(0);
  EXPECT_EQ(start.empty, "noop");
  EXPECT_EQ(start.trials, 12);
  EXPECT_EQ(start.warmup, 2);
  EXPECT_EQ(start.timeout, seconds(45));
  EXPECT_EQ(start.settle, milliseconds(5));
  EXPECT_EQ(suite.experiments.at(1).measure, Experiment::Measure::probe);
}

TEST(Suite, DigestIsTheSha256OfTheText) {
  const Suite suite =
      load_suite("name: a\nworkloads: {w: {image: i, ready: exit}}\nexperiments: [{name: e, measure: start, workload: w}]\n", "a.yaml");
  EXPECT_EQ(suite.digest, "sha256:38f510775e5500e37af789df3f117829b0e6b5904281cd9eb1378b1009b91349");  // as sha256sum(1) says
}

TEST(Suite, EveryFormOfReadyIsRead) {
  const auto ready = [](const std::string& form) {
    return load_suite("name: a\nworkloads: {w: {image: i, ports: [80], ready: " + form +
                          "}}\nexperiments: [{name: e, measure: start, workload: w}]\n",
                      "a.yaml")
        .workloads.at("w")
        .ready;
  };
  EXPECT_EQ(ready("exit").kind, Ready::Kind::exit);
  EXPECT_EQ(ready("executed").kind, Ready::Kind::executed);
  EXPECT_EQ(ready("{log: listening}").pattern, "listening");
  EXPECT_EQ(ready("{tcp: 80}").port, 80);
  EXPECT_EQ(ready("{http: {port: 80}}").path, "/");
  EXPECT_THAT(ready("{exec: [test, -e, /up]}").command, ElementsAre("test", "-e", "/up"));
}

TEST(Suite, EveryNetworkIsRead) {
  const auto workload = [](const std::string& keys) {
    return load_suite("name: a\nbackends: [container]\nworkloads: {w: {image: i, " + keys +
                          ", ready: exit}}\nexperiments: [{name: e, measure: start, workload: w}]\n",
                      "a.yaml")
        .workloads.at("w");
  };
  EXPECT_EQ(workload("network: none").network, Network::none);
  EXPECT_EQ(workload("network: link").network, Network::link);
  EXPECT_EQ(workload("network: bridge, ports: [80]").network, Network::bridge);
  EXPECT_EQ(workload("network: host, ports: [80]").network, Network::host);
  const Workload published = workload("publish: [{host: 8080, port: 80}, {host: 8443, port: 443}], dns: [192.0.2.53]");
  EXPECT_EQ(published.network, Network::bridge) << "a published port needs the bridge";
  EXPECT_THAT(published.publish, ElementsAre(Publish{8080, 80}, Publish{8443, 443}));
  EXPECT_THAT(published.dns, ElementsAre("192.0.2.53"));
}

TEST(Suite, WhatANetworkCannotDoIsSaid) {
  const auto said = [](const std::string& backends, const std::string& keys) {
    try {
      load_suite("name: a\nbackends: [" + backends + "]\nworkloads: {w: {image: i, " + keys +
                     ", ready: exit}}\nexperiments: [{name: e, measure: start, workload: w}]\n",
                 "a.yaml");
    } catch (const Error& error) {
      return error.sentence();
    }
    return std::string("was taken");
  };
  EXPECT_EQ(said("container", "network: link, publish: [{host: 8080, port: 80}]"),
            "a.yaml:3: workload 'w' publishes port 8080 of the host, which only `network: bridge` can");
  EXPECT_EQ(said("metal, vm", "network: host"), "a.yaml:3: workload 'w' has the host's network, which a VM cannot have");
  EXPECT_EQ(said("metal", "network: host"), "was taken");
  EXPECT_EQ(said("vm", "publish: [{host: 8080, port: 80}, {host: 8080, port: 81}]"), "a.yaml:3: port 8080 of the host stands there twice");
  EXPECT_THAT(said("vm", "publish: [8080]"), HasSubstr("is no published port"));
  EXPECT_THAT(said("vm", "publish: [{host: 8080}]"), HasSubstr("'port'"));
  EXPECT_THAT(said("vm", "dns: [resolver.example]"), HasSubstr("'resolver.example', which is no IPv4 address"));
  EXPECT_THAT(said("vm", "network: bridg"), HasSubstr("did you mean 'bridge'?"));
}

/// One line of the good suite replaced, and what is said about it.
struct Wrong {
  const char* name;
  const char* from;
  const char* to;
  const char* said;  // the whole sentence
  const char* hint;  // a part of the hint
};

class WrongSuite : public testing::TestWithParam<Wrong> {};

TEST_P(WrongSuite, IsNamedWithFileLineAndRemedy) {
  std::string text = kGood;
  const std::size_t at = text.find(GetParam().from);
  ASSERT_NE(at, std::string::npos) << GetParam().from;
  text.replace(at, std::string(GetParam().from).size(), GetParam().to);
  try {
    load_suite(text, "q.yaml");
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::invalid);
    EXPECT_EQ(error.sentence(), GetParam().said);
    EXPECT_THAT(error.hint(), HasSubstr(GetParam().hint));
  }
}

const Wrong kWrong[] = {
    {"UnknownKeyOfAnExperiment", "trials: 12", "trails: 12", "q.yaml:23: unknown key 'trails' (did you mean 'trials'?)", ""},
    {"UnknownKeyOfAWorkload", "    hostname: web", "    hostnam: web", "q.yaml:12: unknown key 'hostnam' (did you mean 'hostname'?)", ""},
    {"UnknownKeyOfTheSuite", "seed: 7", "sede: 7", "q.yaml:4: unknown key 'sede' (did you mean 'seed'?)", ""},
    {"MisspeltSection", "experiments:", "experimnets:", "q.yaml:22: unknown key 'experimnets' (did you mean 'experiments'?)", ""},
    {"UnknownKeyOfLimits", "pids: 64", "gpus: 64", "q.yaml:6: unknown key 'gpus' (did you mean 'cpus'?)", ""},
    {"UnknownKeyFarFromAll", "seed: 7", "zzzzzzz: 7", "q.yaml:4: unknown key 'zzzzzzz'", "known here: name, description"},
    {"UnknownUnit", "256MiB", "1XB", "q.yaml:6: 'workloads.noop.limits.memory': '1XB' is not a size", "64MiB"},
    {"NegativeMemory", "256MiB", "-5MiB", "q.yaml:6: 'workloads.noop.limits.memory': '-5MiB' is not a size", "64MiB"},
    {"MemoryWithoutUnit", "256MiB", "256", "q.yaml:6: 'workloads.noop.limits.memory' is 256 B, too little to run anything", "unit"},
    {"UnknownVmProfile", "profile: tuned", "profile: tund", "q.yaml:6: 'tund' is no profile of a VM (did you mean 'tuned'?)",
     "default, minimal, matched or tuned"},
    {"WrongDuration", "settle: 5ms", "settle: soon", "q.yaml:23: 'experiments[0].settle': 'soon' is not a duration", "250ms"},
    {"ZeroTimeout", "timeout: 45s", "timeout: 0s", "q.yaml:23: 'experiments[0].timeout' is '0s' and should be more than 0", ""},
    {"TrialsNotANumber", "trials: 12", "trials: many",
     "q.yaml:23: 'experiments[0].trials' is 'many' and should be a whole number from 1 to 10000", ""},
    {"NoTrials", "trials: 12", "trials: 0", "q.yaml:23: 'experiments[0].trials' is '0' and should be a whole number from 1 to 10000", ""},
    {"CommandAsText", "command: [probe, noop]", "command: probe noop",
     "q.yaml:6: 'workloads.noop.command' is one text and should be a list", "no shell"},
    {"ListForText", "description: starts", "description: [starts]\nx: s",
     "q.yaml:2: 'description' is a list and should be one word or number", ""},
    {"KeyTwice", "    hostname: web", "    image: other", "q.yaml:12: 'image' stands there twice", "one of the two"},
    {"WorkloadTwice", "  serve:", "  noop:", "q.yaml:7: 'noop' stands there twice", ""},
    {"UnknownWorkload", "workload: serve", "workload: server", "q.yaml:23: there is no workload 'server' (did you mean 'serve'?)",
     "noop and serve"},
    {"UnknownEmpty", "empty: noop", "empty: nop", "q.yaml:23: there is no workload 'nop' (did you mean 'noop'?)", ""},
    {"OwnCounterpart", "empty: noop", "empty: serve", "q.yaml:23: experiment 'start' has workload 'serve' as its own empty counterpart",
     "noop"},
    {"UnknownBackend", "[metal, vm]", "[metal, vn]", "q.yaml:3: 'vn' is no backend (did you mean 'vm'?)",
     "metal, container, vm, metal:pooled"},
    {"BackendTwice", "[metal, vm]", "[vm, vm]", "q.yaml:3: backend 'vm' stands there twice", ""},
    {"NoBackend", "[metal, vm]", "[]", "q.yaml:3: 'backends' is an empty list", ""},
    {"UnknownMeasure", "measure: probe", "measure: speed", "q.yaml:24: 'speed' is no measure", "start or probe"},
    {"HttpWithoutPort", "{port: 8080, path: /healthz}", "{path: /healthz}", "q.yaml:14: 'workloads.serve.ready.http' has no 'port'",
     "8080"},
    {"PortThatIsNotThere", "{port: 8080, path: /healthz}", "{port: 81}",
     "q.yaml:14: workload 'serve' is ready when port 81 answers, but that is not one of its ports (it has 8080)", "ports: [81]"},
    {"PortWithoutNetwork", "    security: none", "    network: none",
     "q.yaml:15: workload 'serve' has port 8080 and no network to reach it by", "remove"},
    {"PortTooLarge", "ports: [8080]", "ports: [80800]",
     "q.yaml:13: 'workloads.serve.ports[0]' is '80800' and should be a whole number from 1 to 65535", ""},
    {"TwoProbes", "{http: {port: 8080, path: /healthz}}", "{tcp: 8080, log: up}", "q.yaml:14: 'ready' should have exactly one probe",
     "executed"},
    {"UnknownProbe", "ready: exit", "ready: done", "q.yaml:6: 'ready' is 'done', which is no probe", "{tcp: 8080}"},
    {"PathThatSplitsTheRequest", "path: /healthz", "path: \"/ HTTP/1.0\"", "q.yaml:14: '/ HTTP/1.0' is no path of a URL", "'/'"},
    {"StartWithoutReady", "    ready: {http: {port: 8080, path: /healthz}}\n", "",
     "q.yaml:22: experiment 'start' measures the start of workload 'serve', which does not say when it is ready", "ready: executed"},
    {"ProbeThatDoesNotEnd", "measure: probe, workload: noop", "measure: probe, workload: serve",
     "q.yaml:24: experiment 'micro' reads what workload 'serve' prints until it ends, but the workload is not `ready: exit`",
     "ready: exit"},
    {"ProbeWithCounterpart", "workload: noop}", "workload: noop, empty: serve}",
     "q.yaml:24: experiment 'micro' has an empty counterpart, which only `measure: start` can use", "remove"},
    {"SameNameTwice", "name: micro", "name: start", "q.yaml:24: two experiments are named 'start'", "rename"},
    {"NameWithSlash", "name: micro", "name: ../micro", "q.yaml:24: '../micro' is not a name", "a-z"},
    {"NoImage", "image: tare/probe, ", "", "q.yaml:6: 'workloads.noop' has no 'image'", "tare/probe"},
    {"RelativeDirectory", "/srv", "srv", "q.yaml:11: working_directory is 'srv' and should begin with '/'", ""},
    {"UnknownKeyOfAMount", "source: db", "sorce: db", "q.yaml:16: unknown key 'sorce' (did you mean 'source'?)", ""},
    {"UnknownTypeOfMount", "type: tmpfs", "type: tempfs", "q.yaml:16: 'tempfs' is no type of mount (did you mean 'tmpfs'?)", "volume"},
    {"MountOutOfTheRoot", "target: /data", "target: /data/../../x", "q.yaml:16: the target '/data/../../x' has a '..'", ""},
    {"MountOnAKernelView", "target: /data", "target: /proc/sys", "q.yaml:16: the target '/proc/sys' lies in /proc", ""},
    {"MountTwice", "target: /tmp", "target: /data", "q.yaml:16: two mounts have the target '/data'", ""},
    {"VolumeThatIsAPath", "source: db", "source: ../db",
     "q.yaml:16: '../db' is no name of a volume; use a-z, 0-9, '_', '.' and '-', a letter or digit first, at most 63 in all", ""},
    {"TruthThatIsNone", "read_only_root: true", "read_only_root: yes",
     "q.yaml:17: 'workloads.serve.read_only_root' is 'yes' and should be true or false", ""},
    {"UnknownNamespace", "[ipc, uts]", "[ipc, utc]", "q.yaml:18: 'utc' is no namespace (did you mean 'uts'?)", "cgroup"},
    {"NamespaceTwice", "[ipc, uts]", "[ipc, ipc]", "q.yaml:18: 'ipc' stands there twice", ""},
    {"DeviceElsewhere", "[/dev/fuse]", "[/etc/fuse]", "q.yaml:19: the device '/etc/fuse' does not lie in /dev", ""},
    {"SeedTooLarge", "seed: 7", "seed: 99999999999999999999",
     "q.yaml:4: 'seed' is '99999999999999999999' and should be a whole number from 0 to 18446744073709551615", ""},
};
INSTANTIATE_TEST_SUITE_P(Suite, WrongSuite, testing::ValuesIn(kWrong), [](const auto& wrong) { return std::string(wrong.param.name); });

std::string sentence_for(const std::string& text) {
  try {
    load_suite(text, "h.yaml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::invalid);
    return error.sentence();
  }
  return "was taken";
}

TEST(HostileSuite, BrokenYamlIsNamedWithItsLine) {
  EXPECT_THAT(sentence_for("name: a\nworkloads: {w: [1, 2\nexperiments: 3\n"), testing::StartsWith("h.yaml:"));
  EXPECT_THAT(sentence_for("name: a\n\tworkloads: b\n"), HasSubstr("h.yaml:2: not YAML"));
  EXPECT_THAT(sentence_for("name: {a: b\n"), HasSubstr("not YAML"));
  EXPECT_THAT(sentence_for("a: *nobody\n"), HasSubstr("h.yaml:1: not YAML"));
}

TEST(HostileSuite, TextThatIsNoSuiteIsSaidToBeNone) {
  EXPECT_EQ(sentence_for(""), "h.yaml: the document is nothing and should be a map");
  EXPECT_THAT(sentence_for("just words\n"), HasSubstr("h.yaml:1: the document is 'just words' and should be a map"));
  EXPECT_THAT(sentence_for("[1, 2]\n"), HasSubstr("a list"));
  EXPECT_THAT(sentence_for("name: a\n---\nname: b\n"), HasSubstr("second YAML document"));
  EXPECT_THAT(sentence_for("name: a\n? [x]\n: y\n"), HasSubstr("a key is a list"));
}

TEST(HostileSuite, BytesThatAreNotTextAreRefused) {
  EXPECT_EQ(sentence_for("name: a\ndescription: \xff\xfe\n"), "h.yaml:2: a byte that is not UTF-8 text");
  EXPECT_THAT(sentence_for(std::string("name: a\0b\n", 10)), HasSubstr("not UTF-8"));
  EXPECT_THAT(sentence_for("name: \xc0\xaf\n"), HasSubstr("not UTF-8")) << "overlong";
  EXPECT_THAT(sentence_for("name: \xed\xa0\x80\n"), HasSubstr("not UTF-8")) << "surrogate";
  EXPECT_THAT(sentence_for("name: \"\\0\"\n"), HasSubstr("NUL"));
}

TEST(HostileSuite, SizeAndDepthAreLimited) {
  EXPECT_THAT(sentence_for(std::string(10U << 20, '#')), HasSubstr("10.0 MiB of YAML, more than 1.00 MiB"));
  EXPECT_THAT(sentence_for("name: " + std::string(500000, '[')), HasSubstr("not YAML"));
  EXPECT_THAT(sentence_for("name: " + std::string(500000, '{')), HasSubstr("not YAML"));
  std::string deep = "a:\n";
  for (std::size_t i = 1; i < 1200; ++i) deep += std::string(i, ' ') + "a:\n";
  EXPECT_THAT(sentence_for(deep), testing::StartsWith("h.yaml:"));
  EXPECT_THAT(sentence_for("name: a\nx: " + std::string(200000, 'y') + "\n"), HasSubstr("longer than 128 KiB"));
}

TEST(HostileSuite, NestsOfAliasesCostNothing) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 40; ++i) {
    std::ostringstream line;
    line << "a" << i << ": &a" << i << " [";
    for (int k = 0; k < 4; ++k) line << (k > 0 ? ", " : "") << "*a" << i - 1;
    line << "]\n";
    bomb += line.str();
  }
  EXPECT_THAT(sentence_for(bomb), HasSubstr("unknown key 'a0'"));
  EXPECT_THAT(sentence_for("name: a\nworkloads: &w {w: *w}\nexperiments: []\n"), HasSubstr("h.yaml:")) << "a node inside itself";
}

TEST(HostileSuite, AnyByteChangedIsTakenOrRefusedWithASentence) {
  // Every single-byte slip of a good suite: a parser that trusts its input would crash on one of them.
  const std::string good = kGood;
  int refused = 0;
  for (std::size_t i = 0; i < good.size(); i += 2) {
    for (const char c : {'[', '}', '\n', '&', '*', ':', '\x01', '\xff'}) {
      std::string text = good;
      text[i] = c;
      try {
        load_suite(text, "h.yaml");
      } catch (const Error& error) {
        ++refused;
        EXPECT_THAT(error.sentence(), testing::StartsWith("h.yaml")) << i << " " << static_cast<int>(c);
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Workload, LogsHaveTheirLimits) {
  EXPECT_EQ(load_workload("w", "{image: a}", "w").log, (LogLimits{10_MiB, 3}));
  EXPECT_EQ(load_workload("w", "{image: a, log: {max_size: 1MiB, max_files: 5}}", "w").log, (LogLimits{1_MiB, 5}));
  EXPECT_THROW(load_workload("w", "{image: a, log: {max_size: 10}}", "w"), Error);
  EXPECT_THROW(load_workload("w", "{image: a, log: {max_files: 0}}", "w"), Error);
}

}  // namespace
}  // namespace tare::bench
