// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "image/store.h"
#include "tests/unit/image/trees.h"

namespace tare::image {
namespace {

class FindCommand : public testing::Test {
 protected:
  FindCommand() {
    image_.reference = "dir:/test";
    image_.layers = {trees_.below("root")};
    image_.environment = {"PATH=/first:/second"};
    put(image_.layers[0] / "first/only-first", "", 0755);
    put(image_.layers[0] / "second/tool", "", 0755);
    put(image_.layers[0] / "job/script", "", 0755);
  }
  std::string find(const std::string& argv0, const std::vector<std::string>& environment = {}) {
    return find_command(image_, argv0, environment, image_.working_directory);
  }
  Error error(const std::string& argv0) {
    try {
      find(argv0);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << argv0 << " was found";
    return Error(Code::internal, "found");
  }
  void link(const std::string& target, const std::string& name) { std::filesystem::create_symlink(target, image_.layers[0] / name); }

  Trees trees_;
  Image image_;
};

TEST_F(FindCommand, SearchesPathInItsOrder) {
  EXPECT_EQ(find("tool"), "/second/tool");
  put(image_.layers[0] / "first/tool", "", 0755);
  EXPECT_EQ(find("tool"), "/first/tool");
}

TEST_F(FindCommand, SearchesThePathOfTheWorkloadBeforeTheImages) {
  put(image_.layers[0] / "own/tool", "", 0755);
  EXPECT_EQ(find("tool", {"HOME=/", "PATH=/own"}), "/own/tool");
}

TEST_F(FindCommand, TakesAnAbsolutePathAsItIs) { EXPECT_EQ(find("/job/script"), "/job/script"); }

TEST_F(FindCommand, TakesARelativePathFromTheWorkingDirectory) {
  image_.working_directory = "/job";
  EXPECT_EQ(find("./script"), "/job/./script");
}

TEST_F(FindCommand, SkipsWhatIsNotExecutableAsAShellDoes) {
  put(image_.layers[0] / "first/tool", "", 0644);
  EXPECT_EQ(find("tool"), "/second/tool");
}

TEST_F(FindCommand, FollowsAnAbsoluteLinkInsideTheRoot) {
  link("/second/tool", "first/linked");
  EXPECT_EQ(find("linked"), "/first/linked");
}

TEST_F(FindCommand, DoesNotFollowALinkOutOfTheRoot) {
  put(trees_.below("outside"), "", 0755);
  link("../../outside", "first/escape");
  link(trees_.below("outside").string(), "first/absolute-escape");
  EXPECT_EQ(error("escape").code(), Code::not_found);
  EXPECT_EQ(error("absolute-escape").code(), Code::not_found);
}

TEST_F(FindCommand, SurvivesALoopOfLinks) {
  link("loop-b", "first/loop-a");
  link("loop-a", "first/loop-b");
  EXPECT_EQ(error("loop-a").code(), Code::not_found);
}

TEST_F(FindCommand, NamesCommandAndImageWhenThereIsNone) {
  const Error missing = error("nosuch");
  EXPECT_EQ(missing.code(), Code::not_found);
  EXPECT_EQ(missing.sentence(), "command 'nosuch' is not in image 'dir:/test'");
  EXPECT_THAT(missing.hint(), testing::HasSubstr("/first:/second"));
}

TEST_F(FindCommand, SaysThatAFileOrADirectoryIsNotExecutable) {
  put(image_.layers[0] / "first/text", "", 0644);
  EXPECT_EQ(error("text").code(), Code::invalid);
  EXPECT_THAT(error("/first").sentence(), testing::HasSubstr("is not executable"));
}

TEST_F(FindCommand, RefusesAnEmptyName) { EXPECT_EQ(error("").code(), Code::invalid); }

}  // namespace
}  // namespace tare::image
