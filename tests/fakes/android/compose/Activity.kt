package androidx.activity

import android.os.Bundle

open class ComponentActivity : android.app.Activity() {
    val application = android.app.Application()

    protected open fun onCreate(savedInstanceState: Bundle?) = check(savedInstanceState == null)
}

fun ComponentActivity.enableEdgeToEdge() = check(hashCode() != Int.MIN_VALUE)

inline fun <reified VM : androidx.lifecycle.ViewModel> ComponentActivity.viewModels(): Lazy<VM> =
    lazy { VM::class.java.getConstructor(android.app.Application::class.java).newInstance(application) }
