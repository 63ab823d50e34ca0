// The part of PhotosUI that the app uses, by signature only.
import Foundation
import SwiftUI

public struct PHPickerFilter: Sendable { public static let images = PHPickerFilter() }

public struct PhotosPickerItem: Equatable, Hashable, Sendable {
    public func loadTransferable(type: Data.Type) async throws -> Data? { nil }
}

public struct PhotosPicker<Label: View>: View {
    public typealias Body = Never
    @MainActor @preconcurrency
    public init(_ key: LocalizedStringKey, selection: Binding<PhotosPickerItem?>, matching: PHPickerFilter? = nil) where Label == Text {}
}
