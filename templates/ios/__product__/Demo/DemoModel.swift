// SPDX-License-Identifier: 0BSD

import BenchCore
import Observation
import UIKit

/// What the demo screen shows and does. Yours to change: palmtop never writes over this file.
@MainActor
@Observable
final class DemoModel {
    enum State: Equatable {
        case loading
        case ready
        case running
        case failed(String)
    }

    struct NamedClass: Identifiable, Equatable {
        let id: Int
        let label: String
        let score: Double
    }

    struct NamedObject: Identifiable, Equatable {
        let id: Int
        let label: String
        let detection: Detection
    }

    struct Numbers: Identifiable, Equatable {
        let id: String
        let values: [Double]
    }

    enum Answer: Equatable {
        case classes([NamedClass])
        case objects([NamedObject])
        case numbers([Numbers])
    }

    private(set) var state = State.loading
    private(set) var spec: ModelSpec?
    private(set) var photo: UIImage?
    private(set) var answer: Answer?
    private(set) var inferenceMs: Double?
    private(set) var check: ModelRunner.Check?
    var text = ""
    var accelerator = "auto"
    private(set) var accelerators: [String] = []

    private var folder: ModelFolder?
    private var runner: ModelRunner?
    private var labels: [String] = []
    private var tokens: TextTokens?
    private var nextSample = 0

    /// Reads the model's description and loads the model on the chosen processor.
    func load() async {
        await attempt(because: "error_model") {
            let folder = try self.folder ?? ModelFolder.ofApp()
            let runner = self.runner ?? ModelRunner(folder)
            self.folder = folder
            self.runner = runner
            spec = folder.spec
            accelerators = try Engines.engine(for: folder.spec.build).accelerators
            labels = try folder.labels(preferring: Bundle.main.preferredLocalizations)
            if let rule = folder.spec.text { tokens = TextTokens(rule: rule, vocabulary: try folder.vocabulary()) }
            try await runner.load(on: accelerator)
        }
    }

    func run(on photo: UIImage) async {
        await attempt(because: "error_run") {
            let upright = PictureReader.upright(photo)
            self.photo = upright
            answer = nil
            guard let spec, let input = spec.inputs.first(where: { $0.kind == .image }) else { return }
            let made = try await Task.detached {
                let picture = try PictureReader.picture(of: upright)
                let window = spec.preprocess.window(width: picture.width, height: picture.height)
                return (try spec.preprocess.tensor(of: picture, for: input), window)
            }.value
            try await predict([input.name: made.0], window: made.1)
        }
    }

    func runOnText() async {
        await attempt(because: "error_run") {
            guard let spec, let tokens, let input = spec.input(named: tokens.rule.input) else { return }
            try await predict([input.name: try tokens.tensor(of: text, for: input)])
        }
    }

    /// Runs the next of the samples that came with the model.
    func runOnSample() async {
        await attempt(because: "error_run") {
            guard let samples = try folder?.golden(), !samples.isEmpty else { return }
            photo = nil
            let sample = samples[nextSample % samples.count]
            nextSample += 1
            try await predict(sample.inputs)
        }
    }

    func checkModel() async {
        await attempt(because: "error_run") { check = try await runner?.check() }
    }

    func readFailed() { state = .failed(String(localized: "error_image")) }

    /// Loads the model again, on the processor that was chosen.
    func changeAccelerator() async {
        check = nil
        await load()
    }

    private func predict(
        _ feeds: [String: Tensor], window: Preprocess.Window = .whole
    ) async throws {
        guard let spec, let run = try await runner?.run(feeds) else { return }
        inferenceMs = Double(run.inferenceNs) / 1e6
        answer = try read(run.outputs, spec, window)
    }

    private func read(_ outputs: [String: Tensor], _ spec: ModelSpec, _ window: Preprocess.Window) throws -> Answer {
        switch spec.postprocess.kind {
        case .classification:
            let found = try spec.postprocess.classes(of: outputs, spec: spec)
            return .classes(found.map { NamedClass(id: $0.index, label: label($0.index), score: $0.score) })
        case .detection:
            let found = try spec.postprocess.objects(of: outputs, spec: spec, window: window)
            return .objects(
                found.enumerated().map { NamedObject(id: $0.offset, label: label($0.element.index), detection: $0.element) })
        case .tensor:
            return .numbers(
                try spec.outputs.map { Numbers(id: $0.name, values: try spec.postprocess.real($0.name, outputs, spec)) })
        }
    }

    private func label(_ index: Int) -> String {
        labels.indices.contains(index) ? labels[index] : Words.filled("unnamed_class", index)
    }

    private func attempt(because key: String, _ work: () async throws -> Void) async {
        state = runner == nil ? .loading : .running
        do {
            try await work()
            state = .ready
        } catch {
            state = .failed(Words.filled(key, "\(error)"))
        }
    }
}
