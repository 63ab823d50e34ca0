// SPDX-License-Identifier: 0BSD

import BenchCore
import PhotosUI
import SwiftUI

/// The demo: an input that fits the model, what the model makes of it, and how it does on this device.
struct ContentView: View {
    @State private var model = DemoModel()

    var body: some View {
        NavigationStack {
            List {
                InputSection(model: model)
                if case .failed(let reason) = model.state {
                    FailureSection(reason: reason) { await model.load() }
                }
                ResultsSection(model: model)
                ModelSection(model: model)
            }
            .navigationTitle(Bundle.main.object(forInfoDictionaryKey: "CFBundleDisplayName") as? String ?? "")
            .overlay {
                if model.state == .loading { ProgressView("loading_model") }
            }
        }
        .task { await model.load() }
    }
}

/// Photo, text or a sample: whatever the model takes.
private struct InputSection: View {
    let model: DemoModel

    var body: some View {
        Section {
            switch model.spec?.inputs.first?.kind {
            case .image: PhotoInput(model: model)
            case .tokens: TextInput(model: model)
            default: Text("tensor_intro")
            }
            if model.spec?.golden != nil {
                Button("use_sample") { Task { await model.runOnSample() } }
                    .disabled(model.state == .running)
            }
        }
    }
}

private struct PhotoInput: View {
    let model: DemoModel
    @State private var chosen: PhotosPickerItem?
    @State private var isTaking = false
    @State private var access = CameraAccess.unknown

    var body: some View {
        if let photo = model.photo {
            AnnotatedPhoto(photo: photo, answer: model.answer)
        } else {
            Text("choose_input_hint").foregroundStyle(.secondary)
        }
        PhotosPicker("choose_photo", selection: $chosen, matching: .images)
            .disabled(model.state == .running)
            .onChange(of: chosen) { Task { await use(chosen) } }
        Button("take_photo") { Task { await take() } }
            .disabled(model.state == .running)
            .fullScreenCover(isPresented: $isTaking) {
                CameraPicker { photo in Task { await model.run(on: photo) } }
                    .ignoresSafeArea()
            }
        switch access {
        case .denied:
            Text("camera_denied").font(.footnote)
            Button("open_settings", action: CameraAccess.openSettings)
        case .missing: Text("camera_missing").font(.footnote)
        case .unknown, .granted: EmptyView()
        }
    }

    private func use(_ item: PhotosPickerItem?) async {
        guard let item else { return }
        guard let data = try? await item.loadTransferable(type: Data.self), let photo = UIImage(data: data) else {
            model.readFailed()
            return
        }
        await model.run(on: photo)
    }

    private func take() async {
        access = await CameraAccess.request()
        isTaking = access == .granted
    }
}

private struct TextInput: View {
    @Bindable var model: DemoModel

    var body: some View {
        TextField("text_hint", text: $model.text, axis: .vertical)
            .lineLimit(2...8)
        Button("run_model") { Task { await model.runOnText() } }
            .disabled(model.text.isEmpty || model.state == .running)
    }
}

private struct FailureSection: View {
    let reason: String
    let again: () async -> Void

    var body: some View {
        Section("error_title") {
            Text(reason)
            Button("try_again") { Task { await again() } }
        }
    }
}

private struct ResultsSection: View {
    let model: DemoModel

    var body: some View {
        if model.state == .running {
            Section { ProgressView("running") }
        } else if let answer = model.answer {
            Section("results_title") {
                AnswerRows(answer: answer)
                if let inferenceMs = model.inferenceMs {
                    Text(Words.filled("inference_time", Words.milliseconds(inferenceMs))).foregroundStyle(.secondary)
                }
            }
        }
    }
}

private struct AnswerRows: View {
    let answer: DemoModel.Answer

    var body: some View {
        switch answer {
        case .classes(let classes):
            ForEach(classes) { ScoreRow(label: $0.label, score: $0.score) }
        case .objects(let objects):
            Text(objects.isEmpty ? String(localized: "nothing_found") : Words.filled("objects_found", objects.count))
            ForEach(objects) { ScoreRow(label: $0.label, score: $0.detection.score) }
        case .numbers(let outputs):
            ForEach(outputs) { output in
                VStack(alignment: .leading) {
                    Text(Words.filled("output_title", output.id)).font(.headline)
                    Text(output.values.prefix(32).map(Words.number).joined(separator: "  "))
                        .font(.footnote.monospacedDigit())
                        .environment(\.layoutDirection, .leftToRight)
                }
            }
        }
    }
}

private struct ScoreRow: View {
    let label: String
    let score: Double

    var body: some View {
        VStack(alignment: .leading) {
            HStack {
                Text(label)
                Spacer()
                Text(Words.percent(score)).monospacedDigit().foregroundStyle(.secondary)
            }
            ProgressView(value: min(max(score, 0), 1))
        }
        .accessibilityElement(children: .ignore)
        .accessibilityLabel(Text(Words.filled("result_spoken", label, Words.percent(score))))
    }
}

private struct ModelSection: View {
    @Bindable var model: DemoModel

    var body: some View {
        if let spec = model.spec {
            Section {
                LabeledContent("model_build", value: spec.build.id)
                LabeledContent("model_size", value: spec.sizeBytes.formatted(.byteCount(style: .file)))
                Picker("accelerator", selection: $model.accelerator) {
                    ForEach(model.accelerators, id: \.self) { word in
                        (word == "auto" ? Text("accelerator_auto") : Text(verbatim: word.uppercased())).tag(word)
                    }
                }
                .onChange(of: model.accelerator) { Task { await model.changeAccelerator() } }
                if spec.golden != nil {
                    Button("check_model") { Task { await model.checkModel() } }
                        .disabled(model.state == .running)
                }
                if let check = model.check {
                    Text(
                        check.passes
                            ? Words.filled("samples_match", check.samples)
                            : Words.filled("check_failed", Words.number(check.maxAbs)))
                }
            } header: {
                Text("about_model")
            } footer: {
                Text("privacy_note")
            }
        }
    }}
