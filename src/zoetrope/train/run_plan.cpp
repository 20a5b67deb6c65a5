#include "zoetrope/train/run_plan.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include <fmt/ranges.h>
#include <unistd.h>

#include "zoetrope/base/error.h"
#include "zoetrope/base/log.h"
#include "zoetrope/base/model_path.h"
#include "zoetrope/kernels/packed_matmul.h"
#include "zoetrope/models/lora_config.h"
#include "zoetrope/networks/random_pipeline.h"
#include "zoetrope/networks/umt5/umt5_encoder.h"
#include "zoetrope/networks/wan_transformer/causal_forward.h"
#include "zoetrope/tensor/device.h"
#include "zoetrope/train/builder.h"
#include "zoetrope/train/stage_reference.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using config::Node;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return text;
}

/// The published pipeline that a Hugging Face name means.
const PipelineSize* published_size(const std::string& name) {
  for (const PipelineSize& size : pipeline_sizes()) {
    if (lower(name).find(size.name) != std::string::npos && !size.name.starts_with("tiny"))
      return &size;
  }
  return nullptr;
}

int64_t num_parameters(const Umt5Config& config) {
  int64_t total = 0;
  for (const TensorSpec& spec : Umt5Encoder::weight_specs(config)) {
    int64_t elements = 1;
    for (const int64_t extent : spec.shape) elements *= extent;
    total += elements;
  }
  return total;
}

struct PipelineShape {
  WanTransformerConfig network;
  std::string source;
  int64_t text_encoder_parameters = 0;
};

/// Nothing, with the reason in `why`, where it cannot be found.
std::optional<PipelineShape> pipeline_shape(const std::string& init_from, std::string& why) {
  try {
    const fs::path folder = resolve_model_path(init_from);
    const fs::path file = folder / "transformer" / "config.json";
    const fs::path encoder = folder / "text_encoder";
    return PipelineShape{
        read_wan_transformer_config(file), file.string(),
        fs::exists(encoder / "config.json") ? num_parameters(read_umt5_config(encoder)) : 0};
  } catch (const Error& error) {
    const PipelineSize* size =
        fs::exists(expand_user(init_from)) ? nullptr : published_size(init_from);
    if (size != nullptr) {
      return PipelineShape{size->transformer, "published shape of " + size->doc,
                           num_parameters(size->text_encoder)};
    }
    why = error.what();
    return std::nullopt;
  }
}

/// Reads one role's keys as the config writes them, so that every model that has them is planned.
class RoleKeys {
 public:
  explicit RoleKeys(const config::Component& component)
      : node_(config::TargetTable::write(component)) {}

  std::string text(const char* key) const {
    const Node* value = node_.find(key);
    return value != nullptr && value->is_scalar() ? value->text() : "";
  }
  bool is_true(const char* key) const { return text(key) == "true"; }
  std::optional<int64_t> integer(const char* key) const {
    const std::string value = text(key);
    return value.empty() ? std::nullopt : std::optional<int64_t>(std::stoll(value));
  }
  std::optional<LoraOptions> lora() const {
    const Node* section = node_.find("lora");
    if (section == nullptr || !section->is_map()) return std::nullopt;
    config::Issues issues;
    LoraConfig config;
    config::schema_of<LoraConfig>().read(*section, &config, {issues, "lora"});
    return config.enable ? std::optional(config.options()) : std::nullopt;
  }

 private:
  Node node_;
};

struct StageStudent {
  const RunConfig* run = nullptr;
  const config::Component* student = nullptr;
};

/// The student of the stage that `init_from` names; nothing where it names none.
std::optional<StageStudent> stage_student(const std::vector<Stage>& stages,
                                          const std::string& init_from) {
  const auto reference = parse_stage_reference(init_from);
  if (!reference) return std::nullopt;
  for (const Stage& stage : stages) {
    if (stage.name != reference->stage) continue;
    for (const auto& [role, component] : stage.config.models) {
      if (role == "student") return StageStudent{&stage.config, &component};
    }
  }
  return std::nullopt;
}

/// Where a role really starts: the earlier stage's own start for `stage:<name>`.
std::string start_of(const std::vector<Stage>& stages, const std::string& init_from) {
  const auto earlier = stage_student(stages, init_from);
  return earlier ? start_of(stages, RoleKeys(*earlier->student).text("init_from")) : init_from;
}

CausalAttention attention_in(const RunConfig& run, const RoleKeys& keys,
                             const WanTransformerConfig& network) {
  const DitConfig& dit = run.pipeline.dit_config;
  return training_attention(
      network, {keys.integer("num_frames_per_block"), dit.local_attn_size, dit.sink_size});
}

/// `network`, that of where `init_from` really starts, as the stages on the way there export it.
WanTransformerConfig with_stage_exports(const std::vector<Stage>& stages,
                                        const std::string& init_from,
                                        const WanTransformerConfig& network) {
  const auto earlier = stage_student(stages, init_from);
  if (!earlier) return network;
  const RoleKeys keys(*earlier->student);
  const WanTransformerConfig start = with_stage_exports(stages, keys.text("init_from"), network);
  if (!earlier->student->target->causal) return start;
  return with_attention(start, attention_in(*earlier->run, keys, start));
}

class Describer {
 public:
  Describer(const std::vector<Stage>& stages, size_t index, const TargetTables& tables)
      : stages_(stages), config_(stages[index].config), tables_(tables) {}

  RunDescription describe() {
    const TrainingConfig& training = config_.training;
    constexpr int64_t kSpatialCompression = 8;
    constexpr int64_t kMergedTextTokens = 64;  // of a prompt, where padding is counted but not kept
    const bool fused = training.distributed.device == "cpu" && training.distributed.tp_size == 1 &&
                       kernels::has_packed_matmul(training.model.compute_dtype == "fp32"
                                                      ? kernels::Element::kFp32
                                                      : kernels::Element::kBf16);
    run_.mesh = mesh_sizes(training.distributed);
    run_.batch_size = training.data.train_batch_size;
    run_.accumulation = training.loop.gradient_accumulation_steps;
    run_.num_frames = training.data.num_latent_t;
    run_.num_rows = training.data.num_height / kSpatialCompression;
    run_.num_columns = training.data.num_width / kSpatialCompression;
    run_.compute_bytes = training.model.compute_dtype == "fp32" ? 4 : 2;
    run_.reduce_bytes = training.distributed.reduce_dtype == "fp32" ? 4 : 2;
    run_.deterministic = training.distributed.deterministic;
    run_.block_kind = fused ? BlockKind::kFused : BlockKind::kPlain;
    if (fused) run_.text_tokens = kMergedTextTokens;
    run_.num_checkpoints_kept = training.checkpoint.checkpoints_total_limit;
    const int64_t every = training.checkpoint.training_state_checkpointing_steps;
    run_.num_checkpoints = every > 0 ? (training.loop.max_train_steps + every - 1) / every : 0;
    run_.validates = has_callback("validation");
    for (const auto& [name, component] : config_.models) add_role(name, component);
    if (!missing_.empty())
      fail<ConfigError>(
          "plan: the shapes of all networks must be known, but some are not; name a model of the "
          "same shape, as --models.student.init_from Wan-AI/Wan2.1-T2V-14B-Diffusers\n  {}",
          fmt::join(missing_, "\n  "));
    describe_work();
    return std::move(run_);
  }

 private:
  bool has_callback(const char* name) const {
    const config::Target* target = tables_.callbacks.find(name);
    return std::any_of(config_.callbacks.begin(), config_.callbacks.end(),
                       [&](const auto& callback) {
                         return target != nullptr && callback.second.target == target;
                       });
  }

  void add_role(const std::string& name, const config::Component& component) {
    const RoleKeys keys(component);
    const std::string init_from = start_of(stages_, keys.text("init_from"));
    std::string why;
    const auto shape = pipeline_shape(init_from, why);
    if (!shape) {
      missing_.push_back(fmt::format("models.{}.init_from: {}", name, why));
      return;
    }
    check_parallel_ranks(shape->network, run_.mesh.sequence, run_.mesh.tensor);
    RoleDescription role;
    role.name = name;
    role.network = shape->network;
    role.network_source = shape->source;
    role.trainable = keys.is_true("trainable");
    role.lora = keys.lora();
    role.checkpointing =
        role.trainable && (!keys.text("enable_gradient_checkpointing_type").empty() ||
                           config_.training.model.enable_gradient_checkpointing_type.has_value());
    role.has_average = name == "student" && has_callback("ema");
    if (component.target->causal) add_attention(role, keys);
    if (name == "student") text_encoder_parameters_ = shape->text_encoder_parameters;
    run_.roles.push_back(std::move(role));
  }

  void add_attention(RoleDescription& role, const RoleKeys& keys) const {
    role.network.is_causal = true;
    role.attention = attention_in(
        config_, keys, with_stage_exports(stages_, keys.text("init_from"), role.network));
    role.cache_frames = role.attention->local_attn_size.value_or(
        std::max(run_.num_frames, role.network.sliding_window_num_frames.value_or(0)));
  }

  void describe_work() {
    const config::Target& method = *config_.method.target;
    if (!method.work) {
      fail<ConfigError>("plan: method {} must say what it asks of the networks, but does not",
                        method.class_name());
    }
    run_.work = method.work(config_.method.config.get(), run_.num_frames);
    const bool guided = std::any_of(run_.work.passes.begin(), run_.work.passes.end(),
                                    [](const auto& passes) { return passes.rows > 1; });
    if (run_.validates || (guided && needs_negative_prompt()))
      run_.text_encoder_parameters = text_encoder_parameters_;
  }

  /// The prompt's opposite is the negative prompt unless the method says otherwise.
  bool needs_negative_prompt() const {
    const Node written = config::TargetTable::write(config_.method);
    const Node* policy = written.find("cfg_uncond");
    const Node* text = policy != nullptr && policy->is_map() ? policy->find("text") : nullptr;
    return text == nullptr || text->text() == "negative_prompt";
  }

  const std::vector<Stage>& stages_;
  const RunConfig& config_;
  const TargetTables& tables_;
  RunDescription run_;
  std::vector<std::string> missing_;
  int64_t text_encoder_parameters_ = 0;
};

}  // namespace

RunDescription describe_run(const std::vector<Stage>& stages, size_t index,
                            const TargetTables& tables) {
  return Describer(stages, index, tables).describe();
}

std::optional<RoleNetwork> network_of(const std::vector<Stage>& stages,
                                      const config::Component& role) {
  const RoleKeys keys(role);
  std::string why;
  const auto pipeline = pipeline_shape(start_of(stages, keys.text("init_from")), why);
  if (!pipeline) return std::nullopt;
  return RoleNetwork{pipeline->network, keys.lora()};
}

RunDescription on_gpus(RunDescription run) {
  const RunDescription defaults;
  run.block_kind = BlockKind::kPlain;
  run.text_tokens = defaults.text_tokens;
  return run;
}

void log_memory_plan(const RunConfig& config, const TargetTables& tables, const c10::Device& device,
                     int64_t ranks_per_machine) {
  const bool can_be_planned =
      config.method.target->work &&
      std::all_of(config.models.begin(), config.models.end(), [](const auto& model) {
        return !RoleKeys(model.second).text("init_from").empty();
      });
  if (!can_be_planned) return;
  PlanTarget target = machine_target(ranks_per_machine);
  if (!device.is_cpu()) {
    target.name = device.str();
    target.memory_bytes = static_cast<double>(device_memory_bytes(device));
    target.reserved_bytes = gpu_reserved_bytes(target.memory_bytes);
  }
  const RunPlan plan = plan_run(describe_run({{"", config}}, 0, tables), target);
  log_info("plan: {}", memory_sentence(plan));
  if (plan.fits()) return;
  log_info(
      "warning: this run will probably end for want of memory; `zoetrope plan` says what fits");
}

PlanTarget machine_target(int64_t ranks_per_machine) {
  PlanTarget target;
  target.name = "this machine";
  // The program with its libraries, the loader's buffers and what malloc does not give back.
  constexpr double kReserved = 0.75 * 1024 * 1024 * 1024;
  target.memory_bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<double>(sysconf(_SC_PAGESIZE)) /
                        static_cast<double>(ranks_per_machine);
  target.reserved_bytes = kReserved;
  target.ranks_per_machine = ranks_per_machine;
  return target;
}

}  // namespace zoetrope
