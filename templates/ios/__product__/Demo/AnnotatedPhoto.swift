// SPDX-License-Identifier: 0BSD

import SwiftUI

/// The photo with a box around every object that was found. Boxes are places in a picture: they are not mirrored in
/// languages that are read from right to left.
struct AnnotatedPhoto: View {
    let photo: UIImage
    let answer: DemoModel.Answer?

    var body: some View {
        Image(uiImage: photo)
            .resizable()
            .scaledToFit()
            .overlay {
                GeometryReader { space in
                    ForEach(objects) { object in
                        BoxView(object: object, size: space.size)
                    }
                }
                .environment(\.layoutDirection, .leftToRight)
            }
            .accessibilityLabel(Text("input_picture"))
    }

    private var objects: [DemoModel.NamedObject] {
        if case .objects(let found) = answer { found } else { [] }
    }
}

private struct BoxView: View {
    let object: DemoModel.NamedObject
    let size: CGSize

    var body: some View {
        let box = object.detection
        let width = max(box.right - box.left, 0) * size.width
        let height = max(box.bottom - box.top, 0) * size.height
        Rectangle()
            .stroke(Color.accentColor, lineWidth: 2)
            .overlay(alignment: .topLeading) {
                Text(object.label)
                    .font(.caption)
                    .padding(2)
                    .background(.thinMaterial)
            }
            .frame(width: width, height: height)
            .offset(x: box.left * size.width, y: box.top * size.height)
            .accessibilityHidden(true)
    }
}
