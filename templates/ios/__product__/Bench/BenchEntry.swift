// SPDX-License-Identifier: 0BSD

import BenchCore
import SwiftUI
import UIKit

/// One session of palmtop-bench/1 in this process, which ends with it: exit code 0 measured, 1 an error was told, 2 the
/// order makes no sense. Lines go to standard output, the result to `Documents/palmtop/<run>.jsonl`.
enum BenchEntry {
    @MainActor static func begin() {
        UIDevice.current.isBatteryMonitoringEnabled = true
        let thread = Thread { exit(run(CommandLine.arguments)) }
        thread.qualityOfService = .userInteractive
        thread.stackSize = 8 << 20
        thread.start()
    }

    private static func run(_ arguments: [String]) -> Int32 {
        let home = URL(fileURLWithPath: NSHomeDirectory())
        do {
            let order = try BenchOrder.read(arguments, home: home)
            let session = try BenchSession(order, engines: Engines.all, home: home) { frame in
                FileHandle.standardOutput.write(Data("\(frame)\n".utf8))
            }
            return session.run(as: identity, batteryPercent: batteryPercent) ? 0 : 1
        } catch {
            FileHandle.standardError.write(Data("palmtop: \(error)\n".utf8))
            return 2
        }
    }

    /// A simulator has no battery.
    @Sendable private static func batteryPercent() -> Int? {
        DispatchQueue.main.sync {
            MainActor.assumeIsolated {
                let level = UIDevice.current.batteryLevel
                return level < 0 ? nil : Int((level * 100).rounded())
            }
        }
    }

    private static var identity: BenchIdentity {
        let version = Bundle.main.object(forInfoDictionaryKey: "CFBundleShortVersionString") as? String
        return BenchIdentity(app: Bundle.main.bundleIdentifier ?? "app", version: version ?? "0")
    }
}

/// What is on the screen meanwhile. The session begins once the app is in front: before that the system grants neither
/// GPU nor Neural Engine, and an app that blocks its start is ended.
struct MeasuringView: View {
    @Environment(\.scenePhase) private var scenePhase
    @State private var hasBegun = false

    var body: some View {
        VStack(spacing: 16) {
            ProgressView()
            Text("measuring")
                .multilineTextAlignment(.center)
        }
        .padding()
        .onChange(of: scenePhase, initial: true) {
            guard scenePhase == .active, !hasBegun else { return }
            hasBegun = true
            UIApplication.shared.isIdleTimerDisabled = true
            BenchEntry.begin()
        }
    }
}
