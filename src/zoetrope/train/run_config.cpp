#include "zoetrope/train/run_config.h"

#include <algorithm>

#include <fmt/format.h>

#include "zoetrope/base/error.h"
#include "zoetrope/config/location_of.h"
#include "zoetrope/config/scalar.h"

namespace zoetrope {
namespace {

using config::child_path;
using config::Component;
using config::Issues;
using config::Node;
using config::ReadContext;
using config::TargetTable;

/// The document's top level, its sections untyped: finds missing and unknown sections.
struct Document {
  Node models;
  Node method;
  Node training;
  Node callbacks;
  Node pipeline;

  static void describe(config::Schema<Document>& schema) {
    schema.required("models", &Document::models, "Map of role to model.");
    schema.required("method", &Document::method, "The training method.");
    schema.required("training", &Document::training, "Data, optimizer and length of the run.");
    schema.field("callbacks", &Document::callbacks, "Map of name to callback.");
    schema.field("pipeline", &Document::pipeline, "How the trained network is sampled.");
  }
};

NamedComponents read_models(const Node& node, const TargetTable& table, Issues& issues) {
  NamedComponents models;
  if (!expect_map(node, {issues, "models"})) return models;
  if (node.find("student") == nullptr) {
    refuse(node, {issues, "models"}, "must have the role 'student', but has none of that name");
  }
  for (const auto& [role, model] : node.entries()) {
    const std::string path = child_path("models", role);
    if (role.empty()) refuse(model, {issues, path}, "must have a role name, but got an empty one");
    models.emplace_back(role, table.read(model, {issues, path}));
  }
  return models;
}

NamedComponents read_callbacks(const Node& node, const TargetTable& table, Issues& issues) {
  NamedComponents callbacks;
  if (node.is_null() || !expect_map(node, {issues, "callbacks"})) return callbacks;
  for (const auto& [name, callback] : node.entries()) {
    callbacks.emplace_back(name,
                           table.read(callback, {issues, child_path("callbacks", name)}, name));
  }
  return callbacks;
}

/// Adds the callbacks that the method brings along, with their defaults, unless the config has them
/// under this or another name.
void add_default_callbacks(RunConfig& run, const TargetTable& table, Issues& issues) {
  if (run.method.target == nullptr) return;
  for (const std::string& name : run.method.target->default_callbacks) {
    const config::Target* target = table.find(name);
    const bool given =
        std::any_of(run.callbacks.begin(), run.callbacks.end(), [&](const auto& callback) {
          return callback.first == name || callback.second.target == target;
        });
    if (given) continue;
    run.callbacks.emplace_back(
        name, table.read(Node::map(), {issues, child_path("callbacks", name)}, name));
  }
}

bool is_trainable(const Component& model) {
  const Node* trainable = TargetTable::write(model).find("trainable");
  return trainable == nullptr || trainable->text() == "true";
}

/// What the method asks of its roles, as far as the config tells.
void check_roles(const RunConfig& run, const Node& models, Issues& issues) {
  if (run.method.target == nullptr || !models.is_map()) return;
  const std::string method = run.method.target->class_name();
  for (const config::RoleRequirement& requirement : run.method.target->roles) {
    const auto found = std::find_if(run.models.begin(), run.models.end(), [&](const auto& model) {
      return model.first == requirement.role;
    });
    if (found == run.models.end()) {
      if (requirement.optional || requirement.role == "student") continue;  // the latter is known
      refuse(models, {issues, "models"},
             fmt::format("must have the role '{}', which {} needs, but has none of that name",
                         requirement.role, method));
      continue;
    }
    if (found->second.target == nullptr) continue;
    const ReadContext context{issues, child_path("models", requirement.role)};
    const Node& model = *models.find(requirement.role);
    if (is_trainable(found->second) != requirement.trainable) {
      refuse(model, context,
             fmt::format("must have trainable: {} for {}, but has {}", requirement.trainable,
                         method, !requirement.trainable));
    }
    if (requirement.causal && !found->second.target->causal) {
      refuse(model, context,
             fmt::format("must be a causal model for {}, but {} is bidirectional; use a model such "
                         "as WanCausalModel",
                         method, found->second.target->class_name()));
    }
  }
}

config::RunFacts facts_of(const RunConfig& run) {
  config::RunFacts facts;
  facts.num_latent_frames = run.training.data.num_latent_t;
  for (const auto& [role, model] : run.models) {
    if (model.target == nullptr) continue;
    if (role == "student") {
      const std::string& own = model.target->data_type;
      facts.has_latents =
          (own.empty() ? run.training.data.preprocessed_data_type : own) != "text_only";
    }
    const Node written = TargetTable::write(model);
    const Node* stated = written.find("num_frames_per_block");
    const auto num_frames =
        stated != nullptr ? config::parse_integer(stated->text()) : std::nullopt;
    if (num_frames) facts.frames_per_block[role] = *num_frames;
  }
  return facts;
}

void check_learning_rate(const RunConfig& run, Issues& issues) {
  const std::vector<config::RoleRequirement>& roles = run.method.target->roles;
  const bool trains_student =
      std::any_of(roles.begin(), roles.end(), [](const config::RoleRequirement& requirement) {
        return requirement.role == "student" && requirement.trainable;
      });
  if (!trains_student || run.training.optimizer.learning_rate > 0.0) return;
  const std::string path = "training.optimizer.learning_rate";
  issues.add(
      config::location_of(run.raw, path), path,
      fmt::format("must be greater than 0 for {}, which trains the student, but is {}, which is "
                  "also the default",
                  run.method.target->class_name(), run.training.optimizer.learning_rate));
}

/// What the method asks of other sections, given that it and `training` have all values.
void check_across_sections(const RunConfig& run, const Node& method, Issues& issues) {
  check_learning_rate(run, issues);
  if (!run.method.target->check_run) return;
  run.method.target->check_run(run.method.config.get(), method, facts_of(run), {issues, "method"});
}

PipelineConfig read_pipeline(const Node& node, Issues& issues) {
  PipelineConfig pipeline;
  const ReadContext context{issues, "pipeline"};
  if (!node.is_scalar()) {
    config::schema_of<PipelineConfig>().read(node, &pipeline, context);
    return pipeline;
  }
  try {
    config::schema_of<PipelineConfig>().read(config::parse_yaml_file(node.text()), &pipeline,
                                             context);
  } catch (const ConfigError& error) {
    refuse(node, context,
           fmt::format("must be a map or the path of a file that holds one; {}", error.what()));
  }
  return pipeline;
}

/// The student's own `init_from`, whatever its target.
std::string student_source(const NamedComponents& models) {
  for (const auto& [role, model] : models) {
    if (role != "student" || model.target == nullptr) continue;
    const Node written = TargetTable::write(model);
    const Node* source = written.find("init_from");
    return source != nullptr ? source->text() : "";
  }
  return "";
}

Node write_components(const NamedComponents& components) {
  Node map = Node::map();
  for (const auto& [name, component] : components) map.set(name, TargetTable::write(component));
  return map;
}

}  // namespace

void DitConfig::describe(config::Schema<DitConfig>& schema) {
  schema.field(
      "local_attn_size", &DitConfig::local_attn_size,
      "Causal models: latent frames that a frame attends to; -1 means the model's own limit. Where "
      "the model's transformer/config.json has the key, as exports of a training with a window do, "
      "that is used.",
      config::at_least(-1));
  schema.field("sink_size", &DitConfig::sink_size,
               "Causal models: first latent frames that are always attended to. The model's "
               "transformer/config.json comes first, as for local_attn_size.",
               config::at_least(0));
  for (const char* key :
       {"r_embedder", "r_embedder_fusion", "r_embedder_gate_value", "r_embedder_deltatime_type"}) {
    schema.without_effect(key, "flow maps (AnyFlow) are not built");
  }
}

void PipelineConfig::describe(config::Schema<PipelineConfig>& schema) {
  schema.field("flow_shift", &PipelineConfig::flow_shift,
               "Shift of the sampling schedule in validation and of distillation's timesteps. "
               "Absent or null: the "
               "pipeline folder's own. It does not change fine-tuning's noise: that is "
               "`models.<role>.flow_shift`.",
               config::greater_than(0));
  schema.field("dit_config", &PipelineConfig::dit_config, "Overrides of the transformer's config.");
}

RunConfig read_run_config(const Node& document, const TargetTables& tables, Issues& issues) {
  RunConfig run;
  run.raw = document;
  Document sections;
  config::schema_of<Document>().read(document, &sections, {issues, ""});
  if (!document.is_map()) return run;
  if (document.find("models") != nullptr)
    run.models = read_models(sections.models, tables.models, issues);
  if (document.find("method") != nullptr)
    run.method = tables.methods.read(sections.method, {issues, "method"});
  const bool has_training = document.find("training") != nullptr &&
                            config::schema_of<TrainingConfig>().read(
                                sections.training, &run.training, {issues, "training"});
  if (has_training && run.method.is_complete) check_across_sections(run, sections.method, issues);
  check_roles(run, sections.models, issues);
  run.callbacks = read_callbacks(sections.callbacks, tables.callbacks, issues);
  add_default_callbacks(run, tables.callbacks, issues);
  run.pipeline = read_pipeline(sections.pipeline, issues);
  run.training.distributed.resolve();
  run.training.tracker.resolve();
  if (run.training.model_path.empty()) run.training.model_path = student_source(run.models);
  return run;
}

Node write_run_config(const RunConfig& run) {
  Node document = Node::map();
  document.set("models", write_components(run.models));
  document.set("method", TargetTable::write(run.method));
  document.set("training", config::schema_of<TrainingConfig>().write(&run.training));
  document.set("callbacks", write_components(run.callbacks));
  document.set("pipeline", config::schema_of<PipelineConfig>().write(&run.pipeline));
  return document;
}

}  // namespace zoetrope
