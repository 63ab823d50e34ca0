package androidx.lifecycle

import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers

open class ViewModel {
    protected open fun onCleared() = Unit

    fun fakeClear() = onCleared()
}

open class AndroidViewModel(val application: android.app.Application) : ViewModel()

/** Android's runs on the main thread; here any thread will do. */
val ViewModel.viewModelScope: CoroutineScope get() = CoroutineScope(Dispatchers.Default).also { hashCode() }
