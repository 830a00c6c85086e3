// SPDX-License-Identifier: Apache-2.0
// Where a job's secret and timers come from, and what is refused.
#include "dist/control/secret.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "base/error.h"
#include "dist/fd.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Lookup Environment(std::map<std::string, std::string> values) {
  return [values](const char* name) -> const char* {
    const auto at = values.find(name);
    return at == values.end() ? nullptr : at->second.c_str();
  };
}

std::string Message(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

class SecretFile : public ::testing::Test {
 protected:
  SecretFile() {
    std::ofstream(path) << secret.Hex() << "\n";
    chmod(path.c_str(), 0600);
  }
  ~SecretFile() override { std::filesystem::remove(path); }
  const Secret secret = Secret::Generate();
  const std::string path = StrCat(::testing::TempDir(), "ostria_secret_", getpid());
};

TEST_F(SecretFile, ComesByFileVariableOrDescriptor) {
  EXPECT_EQ(Secret::From(Environment({{"OSTRIA_SECRET_FILE", path}})).Hex(), secret.Hex());
  EXPECT_EQ(Secret::From(Environment({{"OSTRIA_SECRET", secret.Hex()}})).Hex(), secret.Hex());
  const Fd fd(open(path.c_str(), O_RDONLY));
  EXPECT_EQ(Secret::From(Environment({{"OSTRIA_SECRET_FD", StrCat(fd.get())}})).Hex(),
            secret.Hex());
}

TEST_F(SecretFile, MustBePrivate) {
  for (const mode_t mode : {0640U, 0604U, 0620U}) {
    chmod(path.c_str(), mode);
    EXPECT_THAT(Message([&] { Secret::FromFile(path); }),
                AllOf(HasSubstr(path), HasSubstr("mode 0600"), Not(HasSubstr(secret.Hex()))));
  }
  EXPECT_THAT(Message([] { Secret::FromFile(::testing::TempDir()); }),
              HasSubstr("no regular file"));
  EXPECT_THAT(Message([&] { Secret::FromFile(path + ".none"); }), HasSubstr("No such file"));
}

TEST(ControlSecret, NothingButSixtyFourDigits) {
  const std::string digits = Secret::Generate().Hex();
  for (const std::string& wrong :
       {std::string(), digits.substr(1), digits + "0", digits.substr(1) + "g",
        digits.substr(0, 32) + " " + digits.substr(33)}) {
    const std::string message = Message([&] { Secret::FromHex(wrong, "here"); });
    EXPECT_THAT(message, AllOf(HasSubstr("from here"), HasSubstr("64 digits")));
    if (wrong.empty()) continue;
    EXPECT_THAT(message, Not(HasSubstr(wrong)));
  }
  EXPECT_EQ(Secret::FromHex(" " + digits + "\n", "here").Hex(), digits);
}

TEST(ControlSecret, IsGivenExactlyOnce) {
  const std::string digits = Secret::Generate().Hex();
  EXPECT_THAT(Message([] { Secret::From(Environment({})); }), HasSubstr("is not given"));
  EXPECT_THAT(Message([&] {
                Secret::From(Environment({{"OSTRIA_SECRET", digits}, {"OSTRIA_SECRET_FILE", "x"}}));
              }),
              HasSubstr("given by several"));
  EXPECT_THAT(Message([] {
                Secret::From(Environment({{"OSTRIA_SECRET_FD", "3x"}}));
              }),
              HasSubstr("no file descriptor"));
  EXPECT_THAT(Message([] {
                Secret::From(Environment({{"OSTRIA_SECRET_FD", "987654"}}));
              }),
              HasSubstr("Bad file descriptor"));
}

TEST(ControlSecret, HmacIsTheStandardOne) {
  const Secret secret =
      Secret::FromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "here");
  const Mac mac = secret.Hmac("ostria");
  std::string text;
  for (const uint8_t byte : mac)
    text += StrCat("0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]);
  // Python: hmac.new(bytes(range(32)), b"ostria", "sha256")
  EXPECT_EQ(text, "1fbc29875b671600d2e4b77d3ca821f4892c7037359bacb0c33e6c874f3fa676");
  EXPECT_TRUE(secret.Verify(mac, "ostria"));
  EXPECT_FALSE(secret.Verify(mac, "ostriA"));
  Mac wrong = mac;
  wrong[31] ^= 1U;
  EXPECT_FALSE(secret.Verify(wrong, "ostria"));
  EXPECT_NE(RandomNonce(), RandomNonce());
}

TEST(ControlTimers, HaveDefaultsAndVariables) {
  const Timers defaults = TimersFrom(Environment({}));
  EXPECT_EQ(
      ToString(defaults),
      "heartbeat 1 s, suspect 5 s, dead 10 s, no progress 120 s, first step 600 s, join 300 s, "
      "report 10 s, authenticate 5 s");
  const Timers set = TimersFrom(Environment({{"OSTRIA_TIMER_HEARTBEAT", "250ms"},
                                             {"OSTRIA_TIMER_SUSPECT", "0.5"},
                                             {"OSTRIA_TIMER_DEAD", "2s"},
                                             {"OSTRIA_TIMER_NO_PROGRESS", "1.5min"},
                                             {"OSTRIA_TIMER_FIRST_STEP", "2h"},
                                             {"OSTRIA_TIMER_JOIN", "30s"},
                                             {"OSTRIA_TIMER_REPORT", "1"},
                                             {"OSTRIA_TIMER_AUTHENTICATE", "3s"}}));
  EXPECT_EQ(ToString(set),
            "heartbeat 0.25 s, suspect 0.5 s, dead 2 s, no progress 90 s, first step 7200 s, join "
            "30 s, report 1 s, authenticate 3 s");
  Timers none = defaults;
  none.authenticate = milliseconds(0);
  EXPECT_THAT(Message([&] { Check(none); }), HasSubstr("OSTRIA_TIMER_AUTHENTICATE"));
}

TEST(ControlTimers, RefuseWhatIsNoDuration) {
  for (const char* wrong :
       {"", "s", "-1s", "1 s", "1d", "nan", "inf", "1e3", "0", "0.1ms", "999999h"}) {
    EXPECT_THAT(Message([&] {
                  TimersFrom(Environment({{"OSTRIA_TIMER_JOIN", wrong}}));
                }),
                AllOf(HasSubstr("OSTRIA_TIMER_JOIN"), HasSubstr("is no duration")))
        << wrong;
  }
  EXPECT_THAT(Message([] {
                TimersFrom(Environment({{"OSTRIA_TIMER_SUSPECT", "10s"}}));
              }),
              HasSubstr("each must be shorter than the next"));
}

TEST(ControlTimers, MutationsOfADurationDoNoHarm) {
  std::mt19937 random(3);
  int good = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string text = i % 2 == 0 ? "250ms" : "1.5min";
    for (int n = 0; n < 2; ++n) text[random() % text.size()] = static_cast<char>(random());
    try {
      const milliseconds d = ParseDuration(text, "x");
      ++good;
      ASSERT_GE(d.count(), 1);
      ASSERT_LE(d, std::chrono::hours(24 * 30));
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ErrorCode::kInvalidArgument);
    }
  }
  EXPECT_GT(good, 0);
}

}  // namespace
}  // namespace ostria::control
