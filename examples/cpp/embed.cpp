// Embeds the artifact's own test vectors and compares:  embed ARTIFACT [--json] [VARIANT...]
// fp32: largest difference <= 1e-4. Other precisions: cosines with what Python gave of the same file, mean over the texts
// >= 0.9995 and each >= 0.998 (../README.md says why).
// `eager` is the least cosine with the model itself, in float32. What this processor would saturate is left out.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <set>

#include <nlohmann/json.hpp>

#include "embedder.hpp"
#include "processor.hpp"

using nlohmann::json;

namespace {

constexpr double kLargestDifference = 1e-4;
constexpr double kMeanCosine = 0.9995, kLeastCosine = 0.998;
const std::set<std::string> kTargets = {"portable", "web", "openvino", "openvino-unpadded"};  // what OpenVINO runs

json read(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + " cannot be opened; name a folder that bert-onnx export has written.");
    return json::parse(file);
}

/// Whether the file that is there can be the one that was exported. It is no proof: sha256 is, and manifest.json has it.
void check_size(const std::string& folder, const json& manifest, const std::string& name) {
    std::error_code missing;
    const auto size = std::filesystem::file_size(folder + "/" + name, missing);
    if (missing || size != manifest.at("files").at(name).at("size"))
        throw std::runtime_error(name + " is missing, or is not what manifest.json says; export the model again.");
}

bool is_right_here(const json& variant) {
    const json& quantization = variant.at("quantization");
    const bool laid_out = !quantization.is_null() && !quantization.at("isa").is_null();
    return bert_onnx::is_right(variant.at("precision"), laid_out ? quantization.at("isa").get<std::string>() : "");
}

std::map<std::string, bert_onnx::Ids> inputs_of(const json& one) {
    std::map<std::string, bert_onnx::Ids> inputs;
    for (const auto& [name, tensor] : one.at("inputs").items())
        inputs[name] = {tensor.at("shape").get<std::vector<std::size_t>>(),
                        tensor.at("values").get<std::vector<std::int64_t>>()};
    return inputs;
}

struct Verdict {
    std::string variant, precision;
    int texts = 0;
    double difference = 0, sum = 0, cosine = 1, eager = 1;

    double mean() const { return sum / texts; }
    bool passed() const {
        if (precision == "fp32") return difference <= kLargestDifference;
        return mean() >= kMeanCosine && cosine >= kLeastCosine;
    }
};

std::vector<double> values_of(const json& outputs) {
    return outputs.at("sentence_embedding").at("values").get<std::vector<double>>();
}

Verdict check(bert_onnx::Embedder& embedder, const json& variant, const json& vectors) {
    Verdict verdict{variant.at("name"), variant.at("precision")};
    for (const json& one : vectors.at("cases")) {
        const json& own = one.at("variants");
        const json& outputs = own.contains(verdict.variant) ? own.at(verdict.variant) : one.at("outputs");
        const auto expected = values_of(outputs), model = values_of(one.at("outputs"));
        const bert_onnx::Vectors actual = embedder.embed(inputs_of(one));
        if (actual.values.size() != expected.size()) throw std::runtime_error("an output has the wrong size.");
        for (std::size_t i = 0; i < expected.size(); ++i) {
            if (!std::isfinite(actual.values[i])) throw std::runtime_error("an output is not a number.");
            verdict.difference = std::max(verdict.difference, std::abs(actual.values[i] - expected[i]));
        }
        for (std::size_t at = 0; at < expected.size(); at += actual.width, ++verdict.texts) {
            const float* row = &actual.values[at];
            const double own = bert_onnx::cosine(row, &expected[at], actual.width);
            verdict.sum += own;
            verdict.cosine = std::min(verdict.cosine, own);
            verdict.eager = std::min(verdict.eager, bert_onnx::cosine(row, &model[at], actual.width));
        }
    }
    return verdict;
}

/// What a program would do: which of the others is most like the first text?
void show_similarities(bert_onnx::Embedder& embedder, const json& vectors) {
    for (const json& one : vectors.at("cases")) {
        if (one.at("name") != "padded" || one.at("texts").is_null()) continue;
        const bert_onnx::Vectors found = embedder.embed(inputs_of(one));
        std::cout << "similarity to \"" << one["texts"][1].get<std::string>() << "\"\n";
        for (std::size_t row : {0, 2})
            std::cout << "  " << bert_onnx::cosine(found.row(1), found.row(row), found.width) << "  "
                      << one["texts"][row].get<std::string>() << "\n";
    }
}

void show_table(const json& report) {
    std::cout << "\n" << std::left << std::setw(32) << "variant" << std::setw(11) << "precision" << std::setw(12)
              << "difference" << std::setw(12) << "cosine" << std::setw(12) << "to eager" << "verdict\n";
    for (const json& line : report) {
        std::cout << std::setw(32) << line["variant"].get<std::string>() << std::setw(11)
                  << line["precision"].get<std::string>() << std::scientific << std::setprecision(1) << std::setw(12)
                  << line["difference"].get<double>() << std::fixed << std::setprecision(7) << std::setw(12)
                  << line["cosine"].get<double>() << std::setw(12) << line["eager"].get<double>()
                  << (line["passed"] ? "pass" : "FAIL") << "\n";
    }
}

int run(const std::string& folder, bool as_json, const std::set<std::string>& wanted) {
    const json manifest = read(folder + "/manifest.json");
    const json vectors = read(folder + "/vectors.json");
    json report = json::array();
    bool passed = true;
    for (const json& variant : manifest.at("variants")) {
        if (kTargets.count(variant.at("target")) == 0) continue;
        if (!wanted.empty() && wanted.count(variant.at("name")) == 0) continue;
        const std::string file = variant.at("file");
        if (!is_right_here(variant)) {
            std::cerr << "left out: " << file << " would saturate on this processor, which has no VNNI.\n";
            continue;
        }
        check_size(folder, manifest, file);
        bert_onnx::Embedder embedder(folder + "/" + file, manifest.at("config").at("vocab_size"));
        if (report.empty() && !as_json) show_similarities(embedder, vectors);
        const Verdict verdict = check(embedder, variant, vectors);
        passed = passed && verdict.passed();
        report.push_back({{"variant", verdict.variant}, {"precision", verdict.precision}, {"texts", verdict.texts},
                          {"difference", verdict.difference}, {"mean", verdict.mean()}, {"cosine", verdict.cosine}, {"eager", verdict.eager},
                          {"passed", verdict.passed()}});
    }
    if (as_json) {
        std::cout << report << "\n";
    } else {
        show_table(report);
    }
    return passed && !report.empty() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2) {
        std::cerr << "usage: embed ARTIFACT [--json] [VARIANT...]\n";
        return 2;
    }
    try {
        std::set<std::string> wanted(arguments + 2, arguments + count);
        const bool as_json = wanted.erase("--json") > 0;
        return run(arguments[1], as_json, wanted);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 2;
    }
}
