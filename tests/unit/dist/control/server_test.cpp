// SPDX-License-Identifier: Apache-2.0
// Server and clients over real sockets on loopback, threads as ranks. What needs processes (kill,
// stop, exec) is in tests/distributed/test_control_channel.py.
#include "dist/control/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <random>
#include <thread>

#include "dist/control/client.h"
#include "dist/control/rig.h"
#include "dist/control/watch.h"
#include "dist/local.h"

namespace ostria::control {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ControlServer : public ::testing::Test {
 protected:
  void Start(int world, const std::string& host = "127.0.0.1", uint32_t generation = 1) {
    server = std::make_unique<Server>(Listener::Open(host, 0),
                                      HubOptions{"job", generation, world, timers, 0, "here", 42},
                                      secret, [this](const std::string& line) {
                                        const std::lock_guard lock(mutex);
                                        log += line + "\n";
                                      });
  }
  ClientOptions Options(int rank, int world) const {
    return {server->host(), server->port(),        "job", 1, Role::kRank, rank,
            world,          StrCat("host-", rank), timers};
  }
  std::unique_ptr<Client> Connect(int rank, int world) const {
    return std::make_unique<Client>(Options(rank, world), secret);
  }
  std::vector<std::unique_ptr<Client>> ConnectAll(int world) const {
    std::vector<std::unique_ptr<Client>> clients;
    for (int r = 0; r < world; ++r) clients.push_back(Connect(r, world));
    return clients;
  }
  std::string Log() {
    const std::lock_guard lock(mutex);
    return log;
  }

  const Secret secret = Secret::Generate();
  Timers timers = Relaxed();
  std::mutex mutex;
  std::string log;
  std::unique_ptr<Server> server;

 private:
  // A loaded machine may keep a thread from running for a while.
  static Timers Relaxed() {
    Timers t;
    t.heartbeat = milliseconds(50);
    t.suspect = milliseconds(2000);
    t.dead = milliseconds(4000);
    t.join = milliseconds(20'000);
    t.authenticate = milliseconds(2000);
    return t;
  }
};

std::vector<std::string> InThreads(int n, const std::function<void(int)>& f) {
  std::vector<std::string> errors(n);
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) {
    threads.emplace_back([&, i] {
      try {
        f(i);
      } catch (const std::exception& e) {
        errors[i] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return errors;
}

std::string Message(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// A plain TCP connection; what is read until its end.
Fd Raw(const std::string& host, int port) {
  return ConnectTo(host, port, Time::clock::now() + milliseconds(5000));
}
std::string ReadToEnd(const Fd& fd) {
  fcntl(fd.get(), F_SETFL, 0);
  const timeval limit{5, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  std::string all;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = recv(fd.get(), buffer, sizeof(buffer), 0)) > 0) all.append(buffer, n);
  EXPECT_EQ(n, 0) << "the server did not close the connection";
  return all;
}

TEST_F(ControlServer, RanksMeet) {
  Start(3);
  const auto errors = InThreads(3, [&](int rank) {
    Client client(Options(rank, 3), secret);
    const auto members = client.Join({"127.0.0.1"});
    ASSERT_THAT(members, SizeIs(3));
    EXPECT_EQ(members[2].host, "host-2");
    client.Set(StrCat("key/", rank), StrCat("value ", rank));
    EXPECT_EQ(client.Get(StrCat("key/", (rank + 1) % 3), milliseconds(5000)),
              StrCat("value ", (rank + 1) % 3));
    for (int i = 0; i < 20; ++i) {
      client.Add("count", 1);
      client.Barrier("round", milliseconds(5000));
      EXPECT_EQ(client.Add("count", 0), 3 * (i + 1));
      client.Barrier("again", milliseconds(5000));
    }
    client.Agree("graph", "same", {}, milliseconds(5000));
    client.Leave();
  });
  EXPECT_THAT(errors, ::testing::Each(""));
  EXPECT_TRUE(server->WaitUntilLeft(milliseconds(10'000)));
  EXPECT_THAT(server->Failures(), SizeIs(0));
  EXPECT_THAT(Log(), AllOf(HasSubstr("timers: heartbeat 0.05 s"), HasSubstr("job 'job'")));
}

TEST_F(ControlServer, WaitsEndWithTheirDeadline) {
  Start(2);
  const auto clients = ConnectAll(2);
  EXPECT_THAT(Message([&] { clients[0]->Get("never", milliseconds(100)); }),
              HasSubstr("store get 'never': nobody set it within 0.1 s"));
  EXPECT_THAT(Message([&] { clients[0]->Barrier("b", milliseconds(100)); }),
              HasSubstr("barrier 'b': within 0.1 s 1 of 2 ranks did not come: rank 1 (host-1)"));
  EXPECT_THAT(Message([&] { clients[0]->Set(std::string(1000, 'k'), ""); }),
              HasSubstr("a key of length 1000; at most 512"));
  EXPECT_THAT(Message([&] { clients[0]->Set("k", std::string(kMaxValue + 1, 'v')); }),
              HasSubstr("a value of length 1048577; at most 1048576"));
  clients[0]->Set("k", std::string(kMaxValue, 'v'));
  EXPECT_EQ(clients[1]->TryGet("k")->size(), kMaxValue);
}

TEST_F(ControlServer, WhoeverGoesWithoutALeaveIsToldToTheOthers) {
  Start(3);
  auto clients = ConnectAll(3);
  std::atomic<int> aborted{0};
  for (int r : {0, 2}) {
    clients[r]->AddHandler([&](const PeerFailure& f) { aborted += f.rank == 1 ? 1 : 100; });
  }
  const int removed = clients[0]->AddHandler([&](const PeerFailure&) { aborted += 1000; });
  clients[0]->RemoveHandler(removed);
  clients[1]->Enter(1580, "all_reduce bucket 3");
  std::string waiting;
  std::thread waiter([&] {
    try {
      clients[0]->Barrier("epoch", milliseconds(20'000));
    } catch (const PeerFailedError& e) {
      waiting = e.what();
      EXPECT_EQ(e.failure().rank, 1);
      EXPECT_EQ(e.code(), ErrorCode::kDistributed);
    }
  });
  std::this_thread::sleep_for(milliseconds(1000));  // many heartbeats
  const Time begin = Time::clock::now();
  clients[1].reset();
  waiter.join();
  EXPECT_TRUE(clients[2]->WaitForFailure(milliseconds(10'000)));
  EXPECT_LT(Time::clock::now() - begin, milliseconds(10'000));  // of 20 s that the barrier has
  EXPECT_THAT(
      waiting,
      AllOf(HasSubstr("barrier 'epoch': rank 1 (host-1, pid "), HasSubstr("without a leave"),
            HasSubstr("its last known operation was #1580 'all_reduce bucket 3'")));
  EXPECT_THAT(Message([&] { clients[2]->Barrier("b", milliseconds(100)); }), HasSubstr("rank 1"));
  bool late = false;
  clients[0]->AddHandler([&](const PeerFailure&) { late = true; });
  EXPECT_TRUE(late);
  EXPECT_EQ(clients[0]->Failures().at(0).rank, 1);
  EXPECT_EQ(clients[0]->TryGet("k"), std::nullopt) << "what waits for nobody goes on";
  for (int i = 0; i < 1000 && aborted < 2; ++i) {  // handlers run behind whoever waited
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(aborted, 2);
}

TEST_F(ControlServer, ADifferenceIsShownToAll) {
  Start(3);
  const auto clients = ConnectAll(3);
  const Time begin = Time::clock::now();
  const auto errors = InThreads(3, [&](int rank) {
    clients[rank]->Agree("graph", rank == 1 ? "b" : "a",
                         {"x", rank == 1 ? "y = gelu(x)" : "y = relu(x)"}, milliseconds(20'000));
  });
  EXPECT_LT(Time::clock::now() - begin, milliseconds(10'000));  // of the 20 s that it has
  for (const std::string& error : errors) {
    EXPECT_THAT(error, AllOf(HasSubstr("agree 'graph': differs between ranks, first at line 2"),
                             HasSubstr("rank 0 (host-0), rank 2 (host-2): `y = relu(x)`"),
                             HasSubstr("rank 1 (host-1): `y = gelu(x)`")));
  }
}

TEST_F(ControlServer, RefusalsReachTheClientByName) {
  Start(2);
  const auto good = Connect(0, 2);
  const auto refused = [&](const std::function<void(ClientOptions&)>& change,
                           const Secret* other = nullptr) {
    ClientOptions options = Options(1, 2);
    change(options);
    return Message([&] { Client(options, other == nullptr ? secret : *other); });
  };
  const Secret other = Secret::Generate();
  EXPECT_THAT(refused([](auto&) {}, &other), HasSubstr("wrong secret"));
  EXPECT_THAT(refused([](auto& o) { o.job = "another"; }),
              AllOf(HasSubstr("job 'another'"), HasSubstr("(another job)")));
  EXPECT_THAT(refused([](auto& o) { o.rank = 5; }), HasSubstr("rank 5 of 2"));
  EXPECT_THAT(refused([](auto& o) { o.rank = 0; }), HasSubstr("(rank is taken): rank 0 (host-0)"));
  server->Advance(3, 2);
  EXPECT_THAT(refused([](auto& o) { o.generation = 2; }), HasSubstr("(stale generation)"));
  EXPECT_TRUE(good->WaitForFailure(milliseconds(10'000)));
  EXPECT_THAT(good->failure()->reason, HasSubstr("stale generation"));
  ClientOptions fresh = Options(0, 2);
  fresh.generation = 3;
  const Client next(fresh, secret);
  EXPECT_EQ(server->Refusals().at("another job"), 1);
}

TEST_F(ControlServer, GarbageDisturbsNobody) {
  timers.authenticate = milliseconds(1000);
  Start(2);
  std::atomic<bool> stop{false};
  std::thread noise([&] {
    std::mt19937 random(1);
    while (!stop) {
      const Fd fd = Raw(server->host(), server->port());
      std::string bytes(1 + random() % 300, 'x');
      for (char& c : bytes) c = static_cast<char>(random());
      if (random() % 2 == 0) bytes = Encode(Hello{"job", Role::kRank, 1, 2, {}}, 1) + bytes;
      send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
  });
  const auto errors = InThreads(2, [&](int rank) {
    Client client(Options(rank, 2), secret);
    client.Join({});
    for (int i = 0; i < 100; ++i) client.Barrier("round", milliseconds(10'000));
    client.Leave();
  });
  for (int i = 0; i < 1000 && server->Refusals()["garbage"] == 0; ++i) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  stop = true;
  noise.join();
  EXPECT_THAT(errors, ::testing::Each(""));
  // In the noise it would have to make room for others before its time is up.
  const Fd silent = Raw(server->host(), server->port());
  EXPECT_THAT(ReadToEnd(silent), HasSubstr("no proof within 1 s"));
  const Fd http = Raw(server->host(), server->port());
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  send(http.get(), request.data(), request.size(), MSG_NOSIGNAL);
  EXPECT_THAT(ReadToEnd(http), HasSubstr("no message of Ostria"));
  auto refusals = server->Refusals();
  EXPECT_GT(refusals["garbage"], 0);
  EXPECT_EQ(refusals["silent connection"], 1);
  EXPECT_THAT(server->Failures(), SizeIs(0));
}

TEST_F(ControlServer, ManySilentConnectionsKeepNobodyOut) {
  Start(1);
  std::vector<Fd> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(Raw(server->host(), server->port()));
  Client client(Options(0, 1), secret);
  client.Join({});
  client.Barrier("b", milliseconds(5000));
  client.Leave();
}

TEST_F(ControlServer, AStoreThatEndsIsNamed) {
  Start(2);
  const auto clients = ConnectAll(2);
  server.reset();
  ASSERT_TRUE(clients[1]->WaitForFailure(milliseconds(10'000)));
  EXPECT_THAT(clients[1]->failure()->reason, HasSubstr("the store of this job has ended"));
  EXPECT_EQ(clients[1]->failure()->rank, 0);
  EXPECT_EQ(clients[1]->failure()->host, "here");
  EXPECT_THROW(clients[1]->Set("k", "v"), PeerFailedError);
}

TEST_F(ControlServer, WhatIsNoStoreIsSaid) {
  timers.join = milliseconds(300);
  const Listener listener = Listener::Open("127.0.0.1", 0);
  const ClientOptions options{"127.0.0.1", listener.port(), "job", 1, Role::kRank, 0, 1,
                              "h",         timers};
  EXPECT_THAT(Message([&] { Client(options, secret); }), HasSubstr("does not answer"));
  ClientOptions nobody = options;
  {
    const Listener gone = Listener::Open("127.0.0.1", 0);
    nobody.port = gone.port();
  }
  EXPECT_THAT(Message([&] { Client(nobody, secret); }),
              AllOf(HasSubstr("no store answers at 127.0.0.1:"), HasSubstr("refused")));
}

TEST_F(ControlServer, AnInterruptEndsEveryWaitSoon) {
  const Listener silent = Listener::Open("127.0.0.1", 0);  // connects, and does not answer
  int free = 0;
  {
    const Listener gone = Listener::Open("127.0.0.1", 0);  // refuses
    free = gone.port();
  }
  timers.authenticate = timers.join;
  for (const int port : {silent.port(), free}) {
    ClientOptions options{"127.0.0.1", port, "job", 1, Role::kRank, 0, 1, "h", timers};
    const Time begin = Time::clock::now();
    options.interrupt = [&] {
      if (Time::clock::now() - begin > milliseconds(200)) throw std::runtime_error("Ctrl-C");
    };
    EXPECT_THROW(Client(options, secret), std::runtime_error);
    EXPECT_LT(Time::clock::now() - begin, milliseconds(10'000));  // of the 20 s of `join`
  }
}

TEST_F(ControlServer, ARankThatGaveUpJoiningMayJoinAgain) {
  Start(2);
  std::atomic<bool> stop{true};
  ClientOptions options = Options(0, 2);
  options.interrupt = [&] {
    if (stop) throw std::runtime_error("Ctrl-C");
  };
  stop = false;
  Client first(options, secret);
  stop = true;
  EXPECT_THROW(first.Join({"early"}), std::runtime_error);
  stop = false;
  std::vector<Member> found;
  std::thread again([&] { found = first.Join({"late"}); });
  const auto second = Connect(1, 2);
  EXPECT_THAT(second->Join({}), SizeIs(2));
  again.join();
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_THAT(first.Join({}), SizeIs(2)) << "all are there";
  EXPECT_FALSE(first.failure());
}

TEST_F(ControlServer, AClientMayComeBeforeItsServer) {
  int port = 0;
  {
    const Listener listener = Listener::Open("127.0.0.1", 0);
    port = listener.port();
  }
  std::thread early([&] {
    const ClientOptions options{"127.0.0.1", port, "job", 1, Role::kRank, 0, 1, "h", timers};
    Client client(options, secret);
    client.Join({});
    client.Leave();
  });
  std::this_thread::sleep_for(milliseconds(100));
  server =
      std::make_unique<Server>(Listener::Open("127.0.0.1", port), HubOptions{"job", 1, 1, timers},
                               secret, [](const std::string&) {});
  early.join();
}

TEST_F(ControlServer, SpeaksIPv6) {
  Start(2, "::1");
  EXPECT_EQ(server->host(), "::1");
  const auto errors = InThreads(2, [&](int rank) {
    Client client(Options(rank, 2), secret);
    EXPECT_THAT(client.Join({"::1"})[1].addresses, ElementsAre("::1"));
    client.Leave();
  });
  EXPECT_THAT(errors, ::testing::Each(""));
}

// The data path

TEST_F(ControlServer, AFailureAbortsTheCommunicatorAndItsProgressIsTold) {
  Start(3);
  auto clients = ConnectAll(3);
  auto group = MakeLocalGroup({"rank 0", "rank 1", "rank 2"});
  std::vector<std::unique_ptr<RecordedCommunicator>> ranks;
  for (int r = 0; r < 3; ++r) {
    ranks.push_back(std::make_unique<RecordedCommunicator>(std::move(group[r]), "host", ""));
  }
  std::vector<std::string> errors(2);
  std::vector<std::thread> threads;
  for (int r : {0, 1}) {
    threads.emplace_back([&, r] {
      std::shared_ptr<Client> client = std::move(clients[r]);
      const Watch watch(client, ranks[r].get());
      errors[r] = Message([&] { ranks[r]->Barrier("epoch 3"); });
      EXPECT_THAT(client->Failures().at(0).reason, HasSubstr("without a leave"));
    });
  }
  std::this_thread::sleep_for(milliseconds(150));  // three heartbeats
  const Time begin = Time::clock::now();
  clients[2].reset();
  for (std::thread& t : threads) t.join();
  EXPECT_LT(Time::clock::now() - begin, milliseconds(10'000));
  EXPECT_THAT(errors, ::testing::Each(HasSubstr("rank 2 (host-2, pid ")));
  const Progress progress = ProgressOf(ranks[0]->recorder());
  EXPECT_EQ(progress.number, 1U);
  EXPECT_EQ(progress.name, "barrier of epoch 3");
  EXPECT_FALSE(progress.inside);
}

TEST(ControlWatch, AnOperationThatSaysItsKindIsNotSaidToBeOfItself) {
  auto group = MakeLocalGroup({"rank 0"});
  RecordedCommunicator alone(std::move(group[0]), "host", "");
  float x = 1;
  alone.AllReduce("all_reduce of step (graph 1)", &x, 1, DType::kFloat32, ReduceOp::kSum,
                  ReduceOrder::kAny);
  EXPECT_EQ(ProgressOf(alone.recorder()).name, "all_reduce of step (graph 1)");
}

TEST_F(ControlServer, WhoLeavesBeforeACollectiveIsToldByItsProgress) {
  Start(2);
  auto clients = ConnectAll(2);
  auto group = MakeLocalGroup({"rank 0", "rank 1"});
  RecordedCommunicator mine(std::move(group[0]), "host", "");
  std::shared_ptr<Client> client = std::move(clients[0]);
  const Watch watch(client, &mine);
  std::thread other([&] { clients[1]->Leave(); });
  EXPECT_THAT(
      Message([&] { mine.Barrier("epoch 3"); }),
      AllOf(HasSubstr("rank 1 (host-1) left the job without operation #1"), HasSubstr("epoch 3")));
  other.join();
}

// Others may still be inside of the last collective, on their last words' evidence.
TEST_F(ControlServer, WhoLeavesBehindItsLastCollectiveIsNotBlamed) {
  Start(2);
  auto clients = ConnectAll(2);
  const auto at = [](bool inside) {
    return [inside] { return Progress{5, "all_reduce", inside, 3}; };
  };
  clients[0]->AddProgressSource(at(true));
  const int ended = clients[1]->AddProgressSource(at(false));
  clients[1]->RemoveProgressSource(ended);
  clients[1]->Leave();
  EXPECT_FALSE(clients[0]->WaitForFailure(milliseconds(500))) << clients[0]->failure()->reason;
}

TEST_F(ControlServer, TheReplicaThatIsBehindIsTold) {
  timers.no_progress = timers.first_step = milliseconds(2000);
  Start(2);
  auto clients = ConnectAll(2);
  const auto at = [](uint64_t number) {
    return [number] { return Progress{number, StrCat("all_reduce ", number), true, 0}; };
  };
  const int gone = clients[1]->AddProgressSource(at(1));
  clients[1]->AddProgressSource(at(8));
  clients[1]->AddProgressSource(at(7));
  clients[1]->RemoveProgressSource(gone);
  clients[0]->Enter(8, "all_reduce 8");
  ASSERT_TRUE(clients[0]->WaitForFailure(milliseconds(10'000)));
  EXPECT_EQ(clients[0]->failure()->rank, 1);
  EXPECT_EQ(clients[0]->failure()->operation, "#7 'all_reduce 7'");
}

TEST_F(ControlServer, TransportsMeetThroughTheStore) {
  Start(2);
  auto clients = ConnectAll(2);
  const auto a = MakeStoreKeyValues(std::move(clients[0]), "group/");
  const auto b = MakeStoreKeyValues(std::move(clients[1]), "group/");
  EXPECT_EQ(b->Get("address", milliseconds(0)), std::nullopt);
  EXPECT_EQ(b->Get("address", milliseconds(50)), std::nullopt);
  std::thread setter([&] { a->Set("address", "10.0.0.1"); });
  EXPECT_EQ(b->Get("address", milliseconds(5000)), "10.0.0.1");
  setter.join();
}

// Listeners

bool Accepts(const std::string& host, int port) {
  try {
    ConnectTo(host, port, Time::clock::now());
    return true;
  } catch (const Error&) {
    return false;
  }
}

TEST(ControlListener, AcceptsAtItsAddressOnly) {
  const Listener v4 = Listener::Open("127.0.0.2", 0);
  EXPECT_TRUE(Accepts("127.0.0.2", v4.port()));
  EXPECT_FALSE(Accepts("127.0.0.1", v4.port()));
  EXPECT_FALSE(Accepts("::1", v4.port()));
  const Listener v6 = Listener::Open("::1", 0);
  EXPECT_TRUE(Accepts("::1", v6.port()));
  EXPECT_FALSE(Accepts("127.0.0.1", v6.port()));
  for (const char* wildcard : {"0.0.0.0", "::"}) {
    EXPECT_THAT(Message([&] { Listener::Open(wildcard, 0); }), HasSubstr("every address"));
  }
}

TEST(ControlListener, KnowsInterfacesAndNames) {
  EXPECT_EQ(Listener::Open("lo", 0).host(), "127.0.0.1");
  EXPECT_THAT(Listener::Open("localhost", 0).host(), AnyOf("127.0.0.1", "::1"));
  EXPECT_THAT(Message([] { Listener::Open("no-such-host.invalid", 0); }),
              HasSubstr("'no-such-host.invalid' is no address, no interface and no known host"));
  EXPECT_THAT(Message([] { Listener::Open("127.0.0.1", 70'000); }), HasSubstr("ports are 1 to"));
}

TEST(ControlListener, NamesWhoHasAPort) {
  const Listener first = Listener::Open("127.0.0.1", 0);
  const std::string message = Message([&] { Listener::Open("127.0.0.1", first.port()); });
  EXPECT_THAT(message, AllOf(HasSubstr(StrCat("port ", first.port(),
                                              " at 127.0.0.1 is taken by "
                                              "process ",
                                              getpid())),
                             HasSubstr("tried 4 times"), HasSubstr(program_invocation_short_name)));
  EXPECT_EQ(PortHolder(1), "a process that /proc/net/tcp does not show");
}

TEST(ControlListener, TakesOverWhatAParentOpened) {
  const Listener first = Listener::Open("127.0.0.1", 0);
  const Listener second = Listener::Adopt(dup(first.fd()));
  EXPECT_EQ(second.port(), first.port());
  EXPECT_NE(fcntl(second.fd(), F_GETFD) & FD_CLOEXEC, 0);
  for (const int wrong : {-1, 0}) {
    EXPECT_THAT(Message([&] { Listener::Adopt(wrong); }), HasSubstr("no listening TCP socket"));
  }
}

// Scale

TEST_F(ControlServer, AThousandRanksJoinAndBeat) {
#ifdef __SANITIZE_THREAD__
  const int world = 100;  // each thread costs much more there
#else
  const int world = 1000;
#endif
  timers = {};
  timers.heartbeat = milliseconds(500);
  Start(world);
  const Time begin = Time::clock::now();
  std::vector<std::unique_ptr<Client>> clients(world);
  // Few threads connect; each client then has its own, as in a process of its own.
  const auto errors = InThreads(8, [&](int t) {
    for (int r = t; r < world; r += 8) clients[r] = Connect(r, world);
  });
  ASSERT_THAT(errors, ::testing::Each(""));
  const auto connected = std::chrono::duration_cast<milliseconds>(Time::clock::now() - begin);
  const auto joined = InThreads(world, [&](int r) {
    if (clients[r]->Join({"127.0.0.1"}).size() != clients.size())
      throw std::runtime_error("not all");
  });
  const auto all = std::chrono::duration_cast<milliseconds>(Time::clock::now() - begin);
  ASSERT_THAT(joined, ::testing::Each(""));
  std::this_thread::sleep_for(milliseconds(600));
  const auto met = InThreads(world, [&](int r) { clients[r]->Barrier("b", milliseconds(60'000)); });
  ASSERT_THAT(met, ::testing::Each(""));
  EXPECT_THAT(server->Failures(), SizeIs(0));
  for (const auto& c : clients) c->Leave();
  std::printf("measured: %d ranks (threads) on loopback connected in %lld ms, joined in %lld ms\n",
              world, static_cast<long long>(connected.count()),
              static_cast<long long>(all.count()));
}

}  // namespace
}  // namespace ostria::control
