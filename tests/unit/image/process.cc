// SPDX-License-Identifier: Apache-2.0
#include "image/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/failure_of.h"
#include "tests/unit/image/trees.h"

namespace tare::image {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class ProcessOf : public testing::Test {
 protected:
  ProcessOf() {
    image_.reference = workload_.image = "dir:/test";
    workload_.name = "serve";
    image_.layers = {trees_.below("root")};
    image_.environment = {"PATH=/bin", "LANG=C"};
    image_.command = {"server", "--all"};
    put(image_.layers[0] / "bin/server", "", 0755);
    put(image_.layers[0] / "etc/passwd", "web:x:33:33::/srv/web:/bin/sh\n", 0644);
  }
  Process process() { return process_of(workload_, image_, "host"); }

  Trees trees_;
  Image image_;
  Workload workload_;
};

TEST_F(ProcessOf, IsTheImagesWhereTheWorkloadSaysNothing) {
  const Process process = this->process();
  EXPECT_EQ(process.program, "/bin/server");
  EXPECT_THAT(process.arguments, ElementsAre("server", "--all"));
  EXPECT_THAT(process.environment, ElementsAre("PATH=/bin", "LANG=C", "HOSTNAME=host", "HOME=/root"));
  EXPECT_EQ(process.directory, "/");
  EXPECT_EQ(process.user, User());
}

TEST_F(ProcessOf, HasEachKeyOnceAndTheWorkloadsValueOfIt) {
  workload_.environment = {"LANG=de_DE", "HOSTNAME=other", "LANG=fr_FR"};
  EXPECT_THAT(process().environment, ElementsAre("PATH=/bin", "HOME=/root", "HOSTNAME=other", "LANG=fr_FR"));
}

TEST_F(ProcessOf, IsAtHomeWhereItsUserIs) {
  workload_.user = "web";
  EXPECT_THAT(process().environment, Contains("HOME=/srv/web"));
  workload_.user = "1234";
  EXPECT_THAT(process().environment, Contains("HOME=/"));
  image_.environment.push_back("HOME=/of/the/image");
  EXPECT_THAT(process().environment, Contains("HOME=/of/the/image"));
  image_.environment.back() = "HOME=";
  EXPECT_THAT(process().environment, Contains("HOME=/"));
}

TEST_F(ProcessOf, WorksInTheWorkloadsDirectoryOrTheImages) {
  image_.working_directory = "/bin";
  workload_.command = {"./server"};
  EXPECT_EQ(process().directory, "/bin");
  EXPECT_EQ(process().program, "/bin/./server");
  workload_.working_directory = "/";
  workload_.command = {"bin/server"};
  EXPECT_EQ(process().directory, "/");
  EXPECT_EQ(process().program, "/bin/server");
}

TEST_F(ProcessOf, TakesAProgramThatAMountBringsAsItIsNamed) {
  workload_.mounts = {{Mount::Type::bind, "/opt/tools", "/tools", true, std::nullopt}};
  workload_.command = {"/tools/run"};
  EXPECT_EQ(process().program, "/tools/run");
  workload_.command = {"/toolsmith/run"};
  EXPECT_THAT(failure_of([&] { process(); }).second, HasSubstr("is not in image"));
}

TEST_F(ProcessOf, NeedsACommand) {
  image_.command.clear();
  EXPECT_THAT(failure_of([&] { process(); }).second, HasSubstr("workload 'serve' has no command"));
}

}  // namespace
}  // namespace tare::image
