// SPDX-License-Identifier: 0BSD

import BenchCore
import Foundation

extension ModelFolder {
    /// The model that the app carries. Xcode puts the files of the folder `Model` into the app's bundle.
    static func ofApp() throws -> ModelFolder {
        try ModelFolder(Bundle.main.resourceURL ?? Bundle.main.bundleURL)
    }

    /// The model in the app's bundle: a Core ML package as Xcode compiled it, any other file as it is.
    func bundledModel() throws -> URL {
        let stem = model.deletingPathExtension().lastPathComponent
        let kind = model.pathExtension == "mlpackage" ? "mlmodelc" : model.pathExtension
        guard let found = Bundle.main.url(forResource: stem, withExtension: kind) else {
            throw BenchFailure("model_missing", "the app holds no \(stem).\(kind)")
        }
        return found
    }
}

/// Owns the loaded model; everything that touches it happens here, off the main thread.
actor ModelRunner {
    struct Run: Sendable {
        let outputs: [String: Tensor]
        let inferenceNs: Int64
    }

    /// How the reference samples came out on this device.
    struct Check: Sendable {
        let samples: Int
        let maxAbs: Double
        let passes: Bool
    }

    private let folder: ModelFolder
    private var loaded: (accelerator: String, session: any InferenceSession)?

    init(_ folder: ModelFolder) {
        self.folder = folder
    }

    func load(on accelerator: String) throws {
        guard loaded?.accelerator != accelerator else { return }
        loaded = nil
        let engine = try Engines.engine(for: folder.spec.build)
        let prepared = try engine.prepare(try folder.bundledModel())
        loaded = (accelerator, try engine.open(prepared, accelerator: accelerator, threads: 0))
    }

    func run(_ feeds: [String: Tensor]) throws -> Run {
        let session = try session()
        try session.bind(feeds)
        let start = BenchClock.now()
        try session.predict()
        let took = BenchClock.now() - start
        return Run(outputs: try session.fetch(), inferenceNs: took)
    }

    /// Runs the samples that the build was verified with, and holds the results against those of then.
    func check() throws -> Check {
        let golden = try folder.golden()
        let distances = try GoldenCheck.distances(session(), golden)
        let tolerances = folder.spec.golden?.tolerances ?? []
        let passes = tolerances.allSatisfy { distances[$0.output]?.passes($0) ?? false }
        let farthest = distances.values.map(\.maxAbs).max { $1.isNaN || $0 < $1 } ?? 0
        return Check(samples: golden.count, maxAbs: farthest, passes: passes && !tolerances.isEmpty)
    }

    private func session() throws -> any InferenceSession {
        guard let loaded else { throw BenchFailure("run_failed", "no model is loaded") }
        return loaded.session
    }
}
