// SPDX-License-Identifier: 0BSD

import BenchCore
import SwiftUI

/// Shows the demo, or measures when a computer asks for it with `--palmtop=…`.
@main
struct DemoApp: App {
    private let order = BenchOrder.isAsked(CommandLine.arguments)

    var body: some Scene {
        WindowGroup {
            if order {
                MeasuringView()
            } else {
                ContentView()
            }
        }
    }
}
