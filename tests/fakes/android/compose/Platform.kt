package androidx.compose.ui.platform

import androidx.compose.runtime.CompositionLocal

val LocalContext: CompositionLocal<android.content.Context> = CompositionLocal { android.content.Context() }
