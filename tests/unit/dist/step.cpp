// SPDX-License-Identifier: Apache-2.0
#include "dist/step.h"

#include <algorithm>

#include "backend/backend.h"
#include "dist/transports.h"
#include "passes/pass.h"

namespace ostria {

Tensor Floats(std::initializer_list<float> values, const Shape& shape) {
  Tensor t = Tensor::Empty(DType::kFloat32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

std::vector<float> ToVector(const Tensor& t) {
  return {t.data<float>(), t.data<float>() + t.numel()};
}

std::vector<StepReplica> MakeReplicas(int ranks, const std::vector<Tensor>& initial,
                                      const BuildFn& build,
                                      const std::function<Binding(int rank)>& bind, bool buckets) {
  SealStateChunks();
  std::vector<StepReplica> replicas(static_cast<size_t>(ranks));
  Graph g;
  PlanOptions options;
  options.device = FindBackend(DeviceKind::kCpu).Props(0);
  for (int r = 0; r < ranks; ++r) {
    StepReplica& replica = replicas[static_cast<size_t>(r)];
    for (size_t i = 0; i < initial.size(); ++i) {
      replica.variables.push_back(Variable::Create(StrCat("w", i), initial[i],
                                                   StateClass::kTrainable,
                                                   {DeviceKind::kCpu, static_cast<int16_t>(r)}));
    }
  }
  std::vector<Value> state;
  for (const auto& v : replicas[0].variables) {
    state.push_back(g.AddState(v->id(), v->name(), {v->dtype(), v->shape()}, 0));
    options.layout.places.push_back({v->id(), v->chunk_id(), v->offset()});
  }
  build(g, state);
  if (buckets) BucketReductions(g, {});
  for (int r = 0; r < ranks; ++r) {
    StepReplica& replica = replicas[static_cast<size_t>(r)];
    replica.plan = MakePlan(Specialise(g, bind ? bind(r) : Binding{}), options);
    CheckRaces(*replica.plan);
    replica.executable = std::make_unique<Executable>(
        replica.plan, replica.variables, DeviceId{DeviceKind::kCpu, static_cast<int16_t>(r)});
  }
  return replicas;
}

std::vector<std::string> RunStep(std::vector<StepReplica>& replicas,
                                 const std::vector<std::unique_ptr<Communicator>>& ranks,
                                 const std::function<std::vector<Tensor>(int rank)>& inputs) {
  return RunRanks(ranks, [&](Communicator& c) {
    const Communicator::Scope scope(&c);
    StepReplica& replica = replicas[static_cast<size_t>(c.rank())];
    replica.executable->Run(inputs(c.rank()), &replica.outputs);
  });
}

}  // namespace ostria
