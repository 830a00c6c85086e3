// SPDX-License-Identifier: Apache-2.0
// fake-nccl: NCCL's functions over host memory, for ranks that are threads of one process. A
// collective is an op of its stream that may run when all ranks have come to it; the last one does
// it for all. Stricter than NCCL where that finds mistakes: a rank has one collective at a time,
// ranks must agree, and a communicator that a graph holds cannot be destroyed. What goes wrong on
// request is said in fake_cuda.h. It shows that calls are right, nothing about NCCL itself.
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "fake_cuda/enqueue.h"

using ostria::BFloat16;
using ostria::Float16;

extern "C" void fake_cuda_add(const char* function);

namespace {

struct Group;

}  // namespace

struct ncclComm {
  std::shared_ptr<Group> group;
  int rank = 0, device = 0;
  bool blocking = true, joined = false, finalized = false, warm = false;
  int polls = 0;  // for so many the last call is in progress
  int64_t running = -1, next = 0;
  ncclResult_t error = ncclSuccess;
  std::string text;
  std::shared_ptr<int> held = std::make_shared<int>();  // by work that was enqueued, and by graphs
};

namespace {

struct Call {
  std::string kind;
  size_t count = 0;
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t op = ncclSum;
  int root = 0;
  friend bool operator==(const Call&, const Call&) = default;
};
std::string Text(const Call& c) {
  return c.kind + " of " + std::to_string(c.count) + " (type " + std::to_string(c.type) + ", op " +
         std::to_string(c.op) + ", root " + std::to_string(c.root) + ")";
}

struct Place {
  const void* from = nullptr;
  void* to = nullptr;
  bool came = false;
};
struct Slot {  // one collective
  Call call;
  std::vector<Place> places;
  size_t came = 0;
  bool done = false;
};
struct Group {
  int size = 0;
  std::vector<ncclComm*> ranks;
  std::map<int64_t, Slot> slots;
  bool aborted = false;

  bool Whole() const {
    return std::all_of(ranks.begin(), ranks.end(), [](ncclComm* c) { return c && c->joined; });
  }
};

struct Injected {
  std::string kind;
  int rank = 0;
  int64_t number = 0;
};

struct Library {
  std::map<std::string, std::shared_ptr<Group>> groups;  // by unique id
  std::vector<Injected> injected;
  std::map<int, int64_t> runs;  // by rank, since something was injected
  int64_t completed = 0, live = 0, ids = 0;
};
Library& TheLibrary() {
  static auto* library = new Library;  // threads may outlive static teardown
  return *library;
}

void Inject(const std::string& text) {
  Library& library = TheLibrary();
  library.injected.clear();
  library.runs.clear();
  std::istringstream specs(text);
  for (std::string spec; std::getline(specs, spec, ',');) {
    std::istringstream fields(spec);
    Injected i;
    std::string rank, number;
    std::getline(fields, i.kind, ':');
    std::getline(fields, rank, ':');
    std::getline(fields, number, ':');
    i.rank = std::atoi(rank.c_str());
    i.number = std::atoll(number.c_str());
    library.injected.push_back(i);
  }
}

class Lock {
 public:
  Lock() : lock_(fake_cuda::Mutex()) {
    static const bool read = [] {
      const char* given = std::getenv("FAKE_NCCL_INJECT");
      if (given != nullptr) Inject(given);
      return true;
    }();
    static_cast<void>(read);
  }

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

const Injected* Find(const char* kind, int rank) {
  for (const Injected& i : TheLibrary().injected) {
    if (i.kind == kind && i.rank == rank) return &i;
  }
  return nullptr;
}

// --- Arithmetic: neighbours first, half types in float32, rounded once. NaN wins only sums. ------

template <class T>
using Wide =
    std::conditional_t<std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>, float, T>;

template <class T>
void Reduce(const std::vector<const void*>& in, void* out, size_t begin, size_t count,
            ncclRedOp_t op) {
  using W = Wide<T>;
  std::vector<W> at(in.size());
  std::vector<T> result(count);
  for (size_t i = 0; i < count; ++i) {
    for (size_t r = 0; r < in.size(); ++r) {
      at[r] = static_cast<W>(static_cast<const T*>(in[r])[begin + i]);
    }
    for (size_t left = at.size(); left > 1;) {
      size_t next = 0;
      for (size_t r = 0; r < left; r += 2, ++next) {
        if (r + 1 == left)
          at[next] = at[r];
        else if (op == ncclSum)
          at[next] = static_cast<W>(at[r] + at[r + 1]);
        else
          at[next] = (op == ncclMin) == (at[r + 1] < at[r]) ? at[r + 1] : at[r];
      }
      left = next;
    }
    result[i] = static_cast<T>(at[0]);
  }
  std::memcpy(out, result.data(), count * sizeof(T));
}

size_t SizeOf(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64: return 8;
    default: return 0;
  }
}

void ReduceAs(ncclDataType_t type, const std::vector<const void*>& in, void* out, size_t begin,
              size_t count, ncclRedOp_t op) {
  switch (type) {
    case ncclInt8: return Reduce<int8_t>(in, out, begin, count, op);
    case ncclUint8: return Reduce<uint8_t>(in, out, begin, count, op);
    case ncclInt32: return Reduce<int32_t>(in, out, begin, count, op);
    case ncclUint32: return Reduce<uint32_t>(in, out, begin, count, op);
    case ncclInt64: return Reduce<int64_t>(in, out, begin, count, op);
    case ncclUint64: return Reduce<uint64_t>(in, out, begin, count, op);
    case ncclFloat16: return Reduce<Float16>(in, out, begin, count, op);
    case ncclBfloat16: return Reduce<BFloat16>(in, out, begin, count, op);
    case ncclFloat64: return Reduce<double>(in, out, begin, count, op);
    default: return Reduce<float>(in, out, begin, count, op);
  }
}

// --- Running
// --------------------------------------------------------------------------------------

// The last rank has come: for all of them.
void Run(Group& group, Slot& slot) {
  const Call& c = slot.call;
  const size_t size = SizeOf(c.type), bytes = c.count * size, n = slot.places.size();
  const bool gathers = c.kind == "ncclAllGather", scatters = c.kind == "ncclReduceScatter";
  for (size_t r = 0; r < n; ++r) {
    const Place& p = slot.places[r];
    const int device = group.ranks[r]->device;
    const auto at = [](const void* q) { return reinterpret_cast<uintptr_t>(q); };
    if (!fake_cuda::CheckRange(c.kind.c_str(), at(p.from), scatters ? n * bytes : bytes, device) ||
        !fake_cuda::CheckRange(c.kind.c_str(), at(p.to), gathers ? n * bytes : bytes, device)) {
      return;
    }
  }
  std::vector<std::string> kept;  // operands: results may lie where they do
  std::vector<const void*> in;
  for (const Place& p : slot.places) {
    kept.emplace_back(static_cast<const char*>(p.from), scatters ? n * bytes : bytes);
  }
  for (const std::string& k : kept) in.push_back(k.data());
  for (size_t r = 0; r < n; ++r) {
    void* const to = slot.places[r].to;
    if (gathers) {
      for (size_t i = 0; i < n; ++i) std::memcpy(static_cast<char*>(to) + i * bytes, in[i], bytes);
    } else if (c.kind == "ncclBroadcast") {
      std::memcpy(to, in[static_cast<size_t>(c.root)], bytes);
    } else {
      ReduceAs(c.type, in, to, scatters ? r * c.count : 0, c.count, c.op);
    }
  }
  ++TheLibrary().completed;
  slot.done = true;
}

// Whether `comm`'s collective may run now, which is its `ticket`th.
bool MayRun(ncclComm* comm, const Call& call, const Place& place,
            std::chrono::steady_clock::time_point* due, int64_t* ticket) {
  Group& group = *comm->group;
  if (group.aborted) return true;
  if (*ticket < 0) {
    if (comm->running >= 0 && !group.slots[comm->running].done) {
      fake_cuda::Fault(CUDA_ERROR_LAUNCH_FAILED,
                       call.kind + ": a rank has two collectives at once; order them");
      return true;
    }
    *ticket = comm->running = comm->next++;
    const int64_t number = ++TheLibrary().runs[comm->rank];
    Slot& slot = group.slots[*ticket];
    slot.places.resize(static_cast<size_t>(group.size));
    *due = std::chrono::steady_clock::now();
    if (const Injected* i = Find("delay", comm->rank)) *due += std::chrono::milliseconds(i->number);
    const Injected* hang = Find("hang", comm->rank);
    const Injected* error = Find("error", comm->rank);
    if (hang != nullptr && hang->number == number) *due += std::chrono::hours(24);
    if (error != nullptr && error->number == number) {
      *due += std::chrono::hours(24);
      comm->error = ncclRemoteError;
      comm->text = "fake-nccl: an error that was asked for";
    }
  }
  Slot& slot = group.slots[*ticket];
  Place& mine = slot.places[static_cast<size_t>(comm->rank)];
  if (!mine.came) {
    if (std::chrono::steady_clock::now() < *due) return false;
    if (slot.came == 0) slot.call = call;
    if (!(slot.call == call)) {
      fake_cuda::Fault(CUDA_ERROR_LAUNCH_FAILED,
                       "ranks call " + Text(slot.call) + " and " + Text(call) + " at once");
      return true;
    }
    mine = place;
    mine.came = true;
    if (++slot.came == slot.places.size()) Run(group, slot);
  }
  return slot.done;
}

ncclResult_t Enqueue(const Call& call, const void* from, void* to, ncclComm_t comm,
                     cudaStream_t stream) {
  const Lock lock;
  fake_cuda_add(call.kind.c_str());
  if (comm == nullptr || SizeOf(call.type) == 0 || call.root < 0 ||
      call.root >= comm->group->size) {
    return ncclInvalidArgument;
  }
  if (!comm->joined || comm->polls > 0 || comm->finalized || comm->group->aborted) {
    return ncclInvalidUsage;  // the last call is in progress, or it is over
  }
  if (comm->error != ncclSuccess) return comm->error;
  auto* const s = reinterpret_cast<CUstream>(stream);
  if (fake_cuda::CurrentDevice() != comm->device || fake_cuda::DeviceOf(s) != comm->device) {
    return ncclInvalidUsage;
  }
  if (call.kind == "ncclBroadcast" && call.root != comm->rank) from = to;
  const Place place{from, to, false};
  // Each launch of a graph has a time of its own.
  const auto due = std::make_shared<std::chrono::steady_clock::time_point>();
  const CUresult result = fake_cuda::Enqueue(
      s, [kind = call.kind] { fake_cuda::Log(kind); },
      [comm, call, place, due, held = comm->held](int64_t* ticket) {
        return MayRun(comm, call, place, due.get(), ticket);
      });
  if (result != CUDA_SUCCESS) return ncclUnhandledCudaError;
  if (!comm->blocking && !comm->warm) {  // connects in the background
    comm->warm = true;
    comm->polls = 2;
    return ncclInProgress;
  }
  return ncclSuccess;
}

void Leave(ncclComm_t comm) {
  Group& group = *comm->group;
  group.ranks[static_cast<size_t>(comm->rank)] = nullptr;
  --TheLibrary().live;
  delete comm;
}

}  // namespace

extern "C" {

void fake_nccl_inject(const char* spec) {
  const Lock lock;
  Inject(spec);
}
int64_t fake_nccl_completed() {
  const Lock lock;
  return TheLibrary().completed;
}
int64_t fake_nccl_live() {
  const Lock lock;
  return TheLibrary().live;
}

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const Lock lock;
  fake_cuda_add("ncclGetUniqueId");
  *id = {};
  const std::string text = "fake-nccl " + std::to_string(++TheLibrary().ids);
  std::memcpy(id->internal, text.data(), text.size());
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* out, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  const Lock lock;
  fake_cuda_add("ncclCommInitRankConfig");
  if (std::strncmp(id.internal, "fake-nccl ", 10) != 0 || rank < 0 || rank >= size) {
    return ncclInvalidArgument;
  }
  if (fake_cuda::CurrentDevice() < 0) return ncclUnhandledCudaError;
  std::shared_ptr<Group>& group = TheLibrary().groups[id.internal];
  if (group == nullptr) {
    group = std::make_shared<Group>();
    group->size = size;
    group->ranks.resize(static_cast<size_t>(size));
  }
  if (group->size != size || group->ranks[static_cast<size_t>(rank)] != nullptr) {
    return ncclInvalidArgument;
  }
  for (const ncclComm* other : group->ranks) {
    if (other != nullptr && other->device == fake_cuda::CurrentDevice()) return ncclInvalidUsage;
  }
  auto* const comm = new ncclComm;
  comm->group = group;
  comm->rank = rank;
  comm->device = fake_cuda::CurrentDevice();
  comm->blocking = config == nullptr || config->blocking != 0;
  comm->joined = Find("absent", rank) == nullptr;
  group->ranks[static_cast<size_t>(rank)] = *out = comm;
  ++TheLibrary().live;
  if (!comm->blocking) return ncclInProgress;
  while (!group->Whole() && !group->aborted) fake_cuda::Yield();
  return group->aborted ? ncclInternalError : ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  const Lock lock;
  fake_cuda_add("ncclCommGetAsyncError");
  if (comm == nullptr) return ncclInvalidArgument;
  const auto over = [](const ncclComm* c) { return c == nullptr || c->finalized; };
  const auto& ranks = comm->group->ranks;
  if (comm->polls > 0) --comm->polls;
  bool waits = comm->polls > 0;
  if (comm->finalized)
    waits |= !std::all_of(ranks.begin(), ranks.end(), over) || comm->held.use_count() > 1;
  else
    waits |= !comm->group->Whole();
  *error = comm->error != ncclSuccess ? comm->error : waits ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const Lock lock;
  fake_cuda_add("ncclCommFinalize");
  if (comm == nullptr || comm->finalized) return ncclInvalidArgument;
  comm->finalized = true;
  return comm->blocking ? ncclSuccess : ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const Lock lock;
  fake_cuda_add("ncclCommDestroy");
  if (comm == nullptr) return ncclInvalidArgument;
  if (comm->held.use_count() > 1) {
    fake_cuda::Fault(CUDA_ERROR_LAUNCH_FAILED, "ncclCommDestroy: a graph holds the communicator");
    return ncclInvalidUsage;
  }
  Leave(comm);
  return ncclSuccess;
}
// As NCCL's, it waits for graphs that hold the communicator, and what runs is let go of at once.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const Lock lock;
  fake_cuda_add("ncclCommAbort");
  if (comm == nullptr) return ncclInvalidArgument;
  comm->group->aborted = true;
  while (comm->held.use_count() > 1) {
    fake_cuda::RunSome();
    fake_cuda::Yield();
  }
  Leave(comm);
  return ncclSuccess;
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return Enqueue({"ncclAllReduce", count, type, op, 0}, from, to, comm, stream);
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return Enqueue({"ncclReduceScatter", count, type, op, 0}, from, to, comm, stream);
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return Enqueue({"ncclAllGather", count, type, ncclSum, 0}, from, to, comm, stream);
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return Enqueue({"ncclBroadcast", count, type, ncclSum, root}, from, to, comm, stream);
}
ncclResult_t ncclGroupStart() { return ncclSuccess; }
ncclResult_t ncclGroupEnd() { return ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "internal error";
  }
}
const char* ncclGetLastError(ncclComm_t comm) {
  const Lock lock;
  static std::string text;
  text = comm == nullptr ? "" : comm->text;
  return text.c_str();
}

}  // extern "C"
