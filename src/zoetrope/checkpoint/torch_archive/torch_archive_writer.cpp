#include <ATen/ATen.h>

#include "zoetrope/checkpoint/pickle/writer.h"
#include "zoetrope/checkpoint/torch_archive/storage_types.h"
#include "zoetrope/checkpoint/torch_archive/torch_archive.h"
#include "zoetrope/checkpoint/torch_archive/zip_writer.h"

namespace zoetrope {
namespace {

void begin_archive(ZipWriter& archive, const PickleValue& value) {
  archive.add("data.pkl", write_pickle(value));
  archive.add(".format_version", "1");
  archive.add(".storage_alignment", "64");
  archive.add("byteorder", "little");
}

void end_archive(ZipWriter& archive) {
  archive.add("version", "3\n");
  archive.add(".data/serialization_id", archive.content_id());
  archive.finish();
}

at::Tensor as_written(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU).contiguous();
}

// What torch.load calls to make the tensor again, whose memory is the record `data/<key>`.
PickleValue rebuild_call(const at::Tensor& tensor, const std::string& key) {
  const auto storage = storage_type_name(tensor.scalar_type());
  const auto num_stored = static_cast<int64_t>(storage ? tensor.numel() : tensor.nbytes());
  PicklePersistentId memory;
  memory.id = PickleValue::tuple(
      {PickleValue::string("storage"),
       PickleValue::global(storage.value_or("torch.storage.UntypedStorage")),
       PickleValue::string(key), PickleValue::string("cpu"), PickleValue::integer(num_stored)});
  std::vector<PickleValue> arguments = {PickleValue(PickleNode{memory}),
                                        PickleValue::integer(0),
                                        PickleValue::int_tuple(tensor.sizes().vec()),
                                        PickleValue::int_tuple(tensor.strides().vec()),
                                        PickleValue::boolean(false),
                                        PickleValue::call("collections.OrderedDict", {})};
  if (storage) return PickleValue::call("torch._utils._rebuild_tensor_v2", std::move(arguments));
  arguments.push_back(PickleValue::global(torch_dtype_name(tensor.scalar_type())));
  return PickleValue::call("torch._utils._rebuild_tensor_v3", std::move(arguments));
}

}  // namespace

void write_torch_archive(OutputFile& out, const at::Tensor& tensor) {
  const at::Tensor made = as_written(tensor);
  ZipWriter archive(out, "archive");
  begin_archive(archive, rebuild_call(made, "0"));
  archive.add("data/0", made.const_data_ptr(), made.nbytes());
  end_archive(archive);
}

void write_torch_archive(OutputFile& out, const NamedTensors& tensors) {
  std::vector<std::pair<PickleValue, PickleValue>> entries;
  std::vector<at::Tensor> written;
  for (const auto& [name, tensor] : tensors) {
    const std::string key = std::to_string(written.size());
    written.push_back(as_written(tensor));
    entries.emplace_back(PickleValue::string(name), rebuild_call(written.back(), key));
  }
  ZipWriter archive(out, "archive");
  begin_archive(archive, PickleValue::dict(std::move(entries)));
  for (size_t i = 0; i < written.size(); ++i)
    archive.add("data/" + std::to_string(i), written[i].const_data_ptr(), written[i].nbytes());
  end_archive(archive);
}

void write_torch_archive(OutputFile& out, const PickleValue& value) {
  ZipWriter archive(out, "archive");
  begin_archive(archive, value);
  end_archive(archive);
}

}  // namespace zoetrope
